"""One digit cropped from a photograph of a house number, 32x32 in color: recurrent convolutions, 672,202 parameters.

RCNN-96 of Liang and Hu 2015, "Recurrent Convolutional Neural Network for Object Recognition", CVPR: a convolution and four
recurrent ones, each unrolled three times, with the local response normalization of the paper.

    python -m seqdigits.main --config configs/rcnn.py --workdir runs/rcnn

Published: an error of 1.77% at the best of its widths, on 598,388 digits of train and extra. The batch, the rates and the number of
steps are assumed. The digits are cropped from the photographs; the published crops of 32x32, data.photographs = svhn_cropped. Narrower, for two cores and the first 2,000 photographs: rcnn_small.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.models.encoders import rcnn


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "cropped_digit"
    config.data.parts = ("train", "extra")
    config.data.height = 32
    config.data.width = 32
    config.data.min_length = 1
    config.data.max_length = 1
    config.model.name = "heads"
    config.model.pixels = "image_mean"
    config.model.encoder = rcnn(96, dropout=0.5)
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 500
    config.optim.decay_steps = 150_000
    config.train.batch_size = 128
    config.train.steps = 150_000  # 32 epochs of 598,388
    config.train.log_every = 500
    config.train.checkpoint_every = 5_000
    config.evaluate.every = 5_000
    config.evaluate.examples = 0
    return config
