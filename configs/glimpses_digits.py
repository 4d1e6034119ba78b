"""2 to 5 digits anywhere on 128x256, three glimpses for each of five positions: glimpses, 2,491,742 parameters.

    python -m seqdigits.main --config configs/glimpses_digits.py --workdir runs/glimpses_digits

Ba et al. 2014, arXiv:1412.7755, publish two digits on 100x100 (5% wrong) and nothing on more: lengths, canvas and
training are ours. The canvas is that of canvas_variable, wide enough for five digits without an overlap: of 100,000
images of five, one finds no places for them and has them side by side; on 100x100 most would. Of the network, its
size changes the context alone. The end symbol, "no digit", follows the last digit, as published.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("glimpses")
    config.data.height = 128
    config.data.width = 256
    config.data.max_length = 5
    return config
