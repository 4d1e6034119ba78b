"""House numbers of 1 to 6 digits.

The config of svhn_transfer with 0.001 x half the sum of squares of the weights of the convolutions, as the code has it. That its
normalization and dropout are those of svhn_transfer is assumed.

    python -m seqdigits.main --config configs/svhn_transfer_l2.py --workdir runs/svhn_transfer_l2

Published (train / test): sequence accuracy 0.89 / 0.36, character accuracy 0.92 / 0.82 after 30,000 steps of 50, Adam
1e-4, on 33,402 photographs; ours keeps 4,000 of them for validation. On the first 2,000 photographs only:
--config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("svhn_transfer")
    config.loss.l2 = 0.001
    config.loss.l2_params = "encoder/Conv_.*/kernel"
    return config
