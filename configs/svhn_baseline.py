"""House numbers of 1 to 6 digits, the whole photograph resized to 128x256.

The network of canvas_weighted, a GRU of six steps, 4,166,024 parameters.

    python -m seqdigits.main --config configs/svhn_baseline.py --workdir runs/svhn_baseline

Published (train / test): localization error 82.0 / 351.6 px², sequence accuracy 0.50 / 0.20, character accuracy 0.97 /
0.87 after 30,000 steps of 50, Adam 1e-4, on 33,402 photographs; ours keeps 4,000 of them for validation. The five
convolutions are those of the code; the text has four. On the first 2,000 photographs only:
--config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("canvas_weighted")
    config.data.composition = "photograph"
    config.data.min_length = 1
    config.data.max_length = 6
    config.model.pixels = "raw"
    return config
