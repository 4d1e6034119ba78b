"""Five digits anywhere on 128x256, the network of strip5_gru; no localization.

    python -m seqdigits.main --config configs/canvas_sequence.py --workdir runs/canvas_sequence

Published: sequence accuracy 0.17 / 0.17 / 0.15 (training / validation / test) after 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("strip5_gru")
    config.data.height = 128
    config.data.width = 256
    config.train.steps = 30_000
    return config
