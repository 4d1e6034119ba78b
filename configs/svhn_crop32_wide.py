"""House numbers of 1 to 5 digits, cropped by the true box, 32x32 grey: svhn_crop32 as its code has it, 3,341,761
parameters.

    python -m seqdigits.main --config configs/svhn_crop32_wide.py --workdir runs/svhn_crop32_wide

Published: as svhn_crop32, whose figures it made. On the first 2,000 photographs alone:
--config.data.photographs=svhn_2000

Pixels are taken to be 0..1 before the mean is subtracted.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "crop"
    config.data.parts = ("train", "extra")
    config.data.height = 32
    config.data.width = 32
    config.data.grey = True
    config.data.min_length = 1
    config.model.name = "heads"
    config.model.pixels = "image_mean"
    config.model.encoder = (
        "dropout 0.1, conv 5x5x64, relu, pool 2, dropout 0.25, conv 5x5x86, relu, pool 2, dropout 0.25, "
        "conv 5x5x172, relu, dropout 0.5, dense 256, relu"
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
