"""One digit cropped from a photograph of a house number, 32x32 gray.

Each pixel standardized over the training set; two convolutions and dropout, 1,103,498 parameters.

    python -m seqdigits.main --config configs/svhn_cropped_cnn.py --workdir runs/svhn_cropped_cnn

Published: test accuracy 0.9180 after 5,000 steps of 64, 0.9584 after 55,000 (2 h 22), on 598,388 digits of train and
extra; Adagrad 0.05 x 0.96 every 10,000 steps. Its 6,000 validation digits are 400 of train and 200 of extra in each
class; ours are those of photographs at even distances. The published set of 32x32 digits:
--config.data.photographs=svhn_cropped. On the first 2,000 photographs only: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "cropped_digit"
    config.data.parts = ("train", "extra")
    config.data.height = 32
    config.data.width = 32
    config.data.gray = True
    config.data.min_length = 1
    config.data.max_length = 1
    config.model.name = "heads"
    config.model.pixels = "per_pixel"
    config.model.encoder = "conv 5x5x32, relu, pool 2, conv 5x5x64, relu, pool 2, dropout 0.5"
    config.model.head = "dense 256, relu"
    config.model.kernel_init = "glorot_uniform"
    config.loss.digits = 1.0
    config.optim.name = "adagrad"
    config.optim.learning_rate = 0.05
    config.optim.schedule = "staircase"
    config.optim.decay_steps = 10_000
    config.optim.decay_rate = 0.96
    config.train.batch_size = 64
    config.train.steps = 55_000
    config.train.log_every = 500
    config.train.checkpoint_every = 5_000
    config.evaluate.every = 5_000
    config.evaluate.examples = 0
    return config
