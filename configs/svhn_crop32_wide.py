"""House numbers of 1 to 5 digits, cropped to the true box, 32x32 gray.

The network of svhn_crop32 as in its code, 3,341,761 parameters.

    python -m seqdigits.main --config configs/svhn_crop32_wide.py --workdir runs/svhn_crop32_wide

Published: the values of svhn_crop32, which this network produced. On the first 2,000 photographs only:
--config.data.photographs=svhn_2000

Pixels are assumed to be 0..1 before the mean is subtracted.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("svhn_crop32")
    config.model.encoder = (
        "dropout 0.1, conv 5x5x64, relu, pool 2, dropout 0.25, conv 5x5x86, relu, pool 2, dropout 0.25, "
        "conv 5x5x172, relu, dropout 0.5, dense 256, relu"
    )
    return config
