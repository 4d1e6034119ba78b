"""1 to 5 digits anywhere on 128x256, padded with "no digit": canvas_weighted with 11 classes, 4,158,077 parameters.

    python -m seqdigits.main --config configs/canvas_variable.py --workdir runs/canvas_variable

Published: localization error 2.62 / 2.90 / 2.93 px², sequence accuracy 0.86 / 0.79 / 0.80, character accuracy 0.97 /
0.95 / 0.95 (training / validation / test) after 30,000 steps of 50, Adam 1e-4. Its test set was made of validation
digits; ours is not.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("canvas_weighted")
    config.data.min_length = 1
    return config
