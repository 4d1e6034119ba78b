"""Five digits side by side on 28x140: strip5_gru_dropout_30k with a GRU of 1,024 units.

    python -m seqdigits.main --config configs/strip5_gru1024.py --workdir runs/strip5_gru1024

Published: sequence accuracy 0.96 / 0.77 / 0.80 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("strip5_gru_dropout_30k")
    config.model.gru_units = 1024
    return config
