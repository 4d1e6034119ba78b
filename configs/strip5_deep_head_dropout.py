"""Five digits side by side on 28x140.

The network of strip5_deep_head with dropout between the layers of the head.

    python -m seqdigits.main --config configs/strip5_deep_head_dropout.py --workdir runs/strip5_deep_head_dropout

Published: sequence accuracy 0.96 / 0.86 / 0.86 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("strip5_gru_dropout_30k")
    config.model.head = "dense 256, relu, dropout 0.5, dense 64, relu, dropout 0.5"
    return config
