"""House numbers of 1 to 5 digits, cropped to the true box, 32x32 gray.

Seven convolutions, two dense layers, five heads, 719,895 parameters.

    python -m seqdigits.main --config configs/svhn_crop32_deep.py --workdir runs/svhn_crop32_deep

Published: sequence accuracy 0.9176 (0.8970 on 6,000 validation photographs), digit accuracy 0.944, after 110,000 steps
of 128, RMSProp 1e-3 halved every 15,000, on 229,754 photographs. On the first 2,000 photographs only:
--config.data.photographs=svhn_2000

Pixels are assumed to be 0..1 before the mean is subtracted.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "crop"
    config.data.parts = ("train", "extra")
    config.data.height = 32
    config.data.width = 32
    config.data.gray = True
    config.data.min_length = 1
    config.model.name = "heads"
    config.model.pixels = "image_mean"
    config.model.encoder = (
        "dropout 0.1, conv 3x3x32, relu, conv 3x3x32, relu, pool 2, conv 3x3x64, relu, conv 3x3x64, relu, "
        "pool 2, dropout 0.25, conv 3x3x128, relu, conv 3x3x128, relu, conv 3x3x128, relu, pool 2, "
        "dropout 0.5, dense 128, relu, dropout 0.5, dense 128, relu"
    )
    config.model.kernel_init = "glorot_uniform"
    config.loss.digits = 1.0
    config.loss.positions = "sum"
    config.optim.name = "rmsprop"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "staircase"
    config.optim.decay_steps = 15_000
    config.optim.decay_rate = 0.5
    config.train.batch_size = 128
    config.train.steps = 110_000
    return config
