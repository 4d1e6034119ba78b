"""Five digits anywhere on 128x256: canvas_classify with a box head of two layers.

Both heads share the five convolutions; 2,955,992 parameters; cross entropy + squared error.

    python -m seqdigits.main --config configs/canvas_localize_square.py --workdir runs/canvas_localize_square

Published: localization error 0.32 / 0.32 / 0.34 px², sequence accuracy 0 / 0 / 0, character accuracy 0.10 / 0.11 / 0.10
(training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("canvas_classify")
    config.model.localize = True
    config.model.box_head = "dense 128, relu"
    config.loss.box = 4.0  # times the mean of four numbers = their sum
    config.train.best_metric = "localization_error"
    return config
