"""House numbers cropped to the true box, 32x32 gray: one convolution before each pool and one dense layer, 362,039 parameters.

One of four first networks on the data of svhn_crop32, [[conv, ReLU] x N, pool] x M, [dense, ReLU] x K, with N = 1 and K = 1.

    python -m seqdigits.main --config configs/first_four_11.py --workdir runs/first_four_11

Published: sequence accuracy 0.7533 of the best of four after 6,000 batches. The publication does not name the four: N and K of 1 and
2, M = 3, the widths and the 3x3 kernels are ours. On the first 2,000 photographs only: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config
from seqdigits.models.encoders import plain


def get_config() -> ConfigDict:
    config = load_config("svhn_crop32")
    config.model.encoder = plain((32, 64, 128), convolutions=1, dense=1, units=128)
    config.train.steps = 6_000
    config.evaluate.every = 500
    return config
