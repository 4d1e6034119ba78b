"""House numbers of 1 to 5 digits, cropped to the true box, 32x32 gray, the mean of each image subtracted.

Three convolutions and five heads, 570,135 parameters.

    python -m seqdigits.main --config configs/svhn_crop32.py --workdir runs/svhn_crop32

Published: sequence accuracy 0.8505 on 6,000 validation photographs (0.8563 on the 13,068 of test), digit accuracy
0.915, after 116,000 steps of 64, Adam 7.5e-4 x 0.95 every 5,000, on 229,754 photographs. On the first 2,000 photographs
only: --config.data.photographs=svhn_2000

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
        "dropout 0.1, conv 5x5x64, relu, pool 2, dropout 0.25, conv 3x3x32, relu, pool 2, dropout 0.25, "
        "conv 3x3x64, relu, dropout 0.5, dense 128, relu"
    )
    config.model.kernel_init = "glorot_uniform"
    config.loss.digits = 1.0
    config.loss.positions = "sum"
    config.optim.learning_rate = 7.5e-4
    config.optim.schedule = "staircase"
    config.optim.decay_steps = 5_000
    config.optim.decay_rate = 0.95
    config.train.batch_size = 64
    config.train.steps = 116_000
    return config
