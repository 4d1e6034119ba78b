"""Five digits side by side on 28x140: strip5_gru with dropout after each convolution's ReLU.

    python -m seqdigits.main --config configs/strip5_gru_dropout.py --workdir runs/strip5_gru_dropout

Published: sequence accuracy 0.88 / 0.79 / 0.83 (training / validation / test) after 10,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("strip5_gru")
    config.model.encoder = (
        "conv 5x5x32, relu, dropout 0.5, pool 2, conv 3x3x16, relu, dropout 0.5, pool 2, conv 2x2x8, relu, "
        "dropout 0.5, pool 2"
    )
    return config
