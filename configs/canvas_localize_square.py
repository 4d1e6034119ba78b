"""Five digits anywhere on 128x256, read by a GRU and localized by a box head of two layers, both from five
convolutions, 2,955,992 parameters; cross entropy + squared error.

    python -m seqdigits.main --config configs/canvas_localize_square.py --workdir runs/canvas_localize_square

Published: localization error 0.32 / 0.32 / 0.34 px², sequence accuracy 0 / 0 / 0, character accuracy 0.10 / 0.11 / 0.10
(training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.model.name = "gru"
    config.model.encoder = (
        "conv 10x10x8, relu, pool 2, conv 8x8x14, relu, pool 2, conv 6x6x20, relu, pool 2, conv 4x4x24, "
        "relu, pool 2, conv 2x2x32, relu, pool 2"
    )
    config.model.gru_units = 576
    config.model.localize = True
    config.model.box_head = "dense 128, relu"
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1.0
    config.loss.box = 4.0  # of the mean of the four numbers: their sum
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    config.train.best_metric = "localization_error"
    return config
