"""Five digits anywhere on 128x256.

The network of canvas_classify with smaller convolutions and two dense layers that both tasks share; 38,016,072 parameters.

    python -m seqdigits.main --config configs/canvas_localize_baseline.py --workdir runs/canvas_localize_baseline

Published: localization error 312.7 / 313.4 / 312.6 px², sequence accuracy 0 / 0 / 0, character accuracy 0.13 / 0.13 /
0.13 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("canvas_classify")
    config.model.encoder = (
        "conv 3x3x6, relu, pool 2, conv 3x3x10, relu, pool 2, conv 3x3x16, relu, pool 2, dense 4096, relu, dense 576"
    )
    config.model.localize = True
    config.model.box_head = "dense 128, relu"
    config.loss.box = 1.0
    config.train.best_metric = "localization_error"
    return config
