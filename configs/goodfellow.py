"""House numbers cropped to the true box, random 54x54 cut-outs of 64x64 in color: a deep network with a head for the length.

Goodfellow et al. 2013, arXiv:1312.6082: eight convolutions, a locally connected layer and two dense layers; the length and five
digits, read together. 38,142,809 parameters.

    python -m seqdigits.main --config configs/goodfellow.py --workdir runs/goodfellow

Published: sequence accuracy 0.9603, coverage 0.9564 at 98% accuracy, on SVHN's train and extra, after some six days with ten
replicas. Of the length, 0 to 5 or more, no example here has 0 or more than 5. The publication does not state the initialization,
the rates of dropout and learning, the batch, the number of steps, nor whether the locally connected layer has a pool: those
here are assumed. By lecun_normal, the default, activations shrink to a thousandth on their way through the eleven layers.
Smaller, for two cores: goodfellow_small.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.models.encoders import goodfellow


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "crop"
    config.data.parts = ("train", "extra")
    config.data.height = 64
    config.data.width = 64
    config.data.cutout = 54
    config.data.min_length = 1
    config.model.name = "heads"
    config.model.pixels = "image_mean"
    config.model.encoder = goodfellow((48, 64, 128, 160, 192, 192, 192, 192), dense=3072, dropout=0.5)
    config.model.length_head = True
    config.model.kernel_init = "he_normal"
    config.loss.digits = 1.0
    config.loss.length = 1.0
    config.loss.positions = "sum"
    config.optim.learning_rate = 1e-4
    config.optim.schedule = "staircase"
    config.optim.decay_steps = 40_000
    config.optim.decay_rate = 0.3
    config.train.batch_size = 128
    config.train.steps = 120_000  # 67 epochs of 229,754
    return config
