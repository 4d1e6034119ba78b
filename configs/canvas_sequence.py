"""Five digits anywhere on 128x256, read by the network of strip5_gru; no localization.

    python -m seqdigits.main --config configs/canvas_sequence.py --workdir runs/canvas_sequence

Published: sequence accuracy 0.17 / 0.17 / 0.15 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.model.name = "gru"
    config.model.encoder = "conv 5x5x32, relu, pool 2, conv 3x3x16, relu, pool 2, conv 2x2x8, relu, pool 2"
    config.model.gru_units = 576
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
