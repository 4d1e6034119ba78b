"""Five digits side by side on 28x140: strip5_gru_dropout, trained three times as long.

    python -m seqdigits.main --config configs/strip5_gru_dropout_30k.py --workdir runs/strip5_gru_dropout_30k

Published: sequence accuracy 0.97 / 0.85 (elsewhere 0.84) / 0.85 (training / validation / test) after 30,000 steps of
50, Adam 1e-4. Its evaluation without dropout is misleading: see docs/findings.md.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.height = 28
    config.data.width = 140
    config.model.name = "gru"
    config.model.encoder = (
        "conv 5x5x32, relu, dropout 0.5, pool 2, conv 3x3x16, relu, dropout 0.5, pool 2, conv 2x2x8, relu, "
        "dropout 0.5, pool 2"
    )
    config.model.gru_units = 576
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
