"""Five digits side by side on 28x140: three convolutions, and a GRU of 576 units unrolled five times, 2,027,210 parameters.

    python -m seqdigits.main --config configs/strip5_gru.py --workdir runs/strip5_gru

Published: sequence accuracy 1.00 / 0.80 / 0.82 (training / validation / test) after 10,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.height = 28
    config.data.width = 140
    config.model.name = "gru"
    config.model.encoder = "conv 5x5x32, relu, pool 2, conv 3x3x16, relu, pool 2, conv 2x2x8, relu, pool 2"
    config.model.gru_units = 576
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-4
    config.train.steps = 10_000
    return config
