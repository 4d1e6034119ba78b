"""House numbers cropped to the true box, 54x54 cut-outs in gray, read by the network of glimpses: 1,574,238 parameters.

Ba et al. 2014, "Multiple object recognition with visual attention", arXiv:1412.7755.

    python -m seqdigits.main --config configs/glimpses_crop.py --workdir runs/glimpses_crop

Published: sequence accuracy 0.961 by two networks, one from left to right and one from right to left, averaged over
sampled glimpses; 0.949 by one alone, as here. Crops of 64x64, random cut-outs of 54x54 in training, gray, and three
glimpses for each digit are as published. The published networks have some 14 million parameters each, and LSTMs; the
sizes and the training are ours. On the first 2,000 photographs only: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("glimpses")
    config.data = base_config().data  # nothing of its canvases
    config.data.composition = "crop"
    config.data.parts = ("train", "extra")
    config.data.height = 64
    config.data.width = 64
    config.data.cutout = 54
    config.data.gray = True
    config.data.min_length = 1
    config.model.pixels = "image_mean"
    config.optim.decay_steps = 60_000
    config.train.steps = 60_000  # 33 epochs of 229,754
    return config
