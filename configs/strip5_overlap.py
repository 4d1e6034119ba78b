"""Five digits side by side on 28x140: strip5_batchnorm with overlapping pools.

    python -m seqdigits.main --config configs/strip5_overlap.py --workdir runs/strip5_overlap

Published: sequence accuracy 0.98 / 0.81 / 0.81 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("strip5_batchnorm")
    config.model.encoder = (
        "conv 10x10x8, relu, norm shift, dropout 0.2, pool 5 /4, conv 5x5x16, relu, norm shift, dropout 0.2, "
        "pool 4 /3, conv 2x2x32, relu, norm shift, dropout 0.2, pool 2 /1"
    )
    return config
