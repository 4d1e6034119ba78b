"""Five digits anywhere on 128x256: a GRU over five convolutions; no localization.

    python -m seqdigits.main --config configs/canvas_classify.py --workdir runs/canvas_classify

Published: sequence accuracy 0.91 / 0.75 / 0.74, character accuracy 0.98 / 0.94 / 0.94 (training / validation / test)
after 30,000 steps of 50, Adam 1e-4.
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
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
