"""Five digits side by side on 28x140: strip5_gru_dropout_30k with a GRU of 256 units.

    python -m seqdigits.main --config configs/strip5_gru256.py --workdir runs/strip5_gru256

Published: sequence accuracy 0.89 / 0.81 / 0.81 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("strip5_gru_dropout_30k")
    config.model.gru_units = 256
    return config
