"""Five digits side by side on 28x140, a GRU over convolutions with batch norm (shift, no scale) and dropout.

    python -m seqdigits.main --config configs/strip5_batchnorm.py --workdir runs/strip5_batchnorm

Published: sequence accuracy 1.00 / 0.86 / 0.88 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.height = 28
    config.data.width = 140
    config.model.name = "gru"
    config.model.encoder = (
        "conv 10x10x8, relu, norm shift, dropout 0.2, pool 2, conv 5x5x16, relu, norm shift, dropout 0.2, "
        "pool 2, conv 2x2x32, relu, norm shift, dropout 0.2, pool 2"
    )
    config.model.gru_units = 576
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
