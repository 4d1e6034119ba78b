"""Five digits side by side on 28x140: strip5_reshaped with a fourth convolution; no batch norm.

    python -m seqdigits.main --config configs/strip5_deeper.py --workdir runs/strip5_deeper

Published: sequence accuracy 0.97 / 0.80 / 0.80 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("strip5_reshaped")
    config.model.encoder = (
        "conv 10x10x8, relu, dropout 0.5, pool 2, conv 5x5x16, relu, dropout 0.5, pool 2, conv 2x2x24, relu, "
        "dropout 0.5, pool 2, conv 2x2x32, relu, dropout 0.5"
    )
    return config
