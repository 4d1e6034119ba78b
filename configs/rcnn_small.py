"""One digit cropped from a photograph of a house number: the network of rcnn with 48 features, 170,218 parameters.

    python -m seqdigits.main --config configs/rcnn_small.py --workdir runs/rcnn_small

The first 2,000 photographs of train (4,034 digits, and 400 for validation) and the first 500 of test, random 28x28 cut-outs of 32x32
in training. For comparison with svhn_cropped_norm on the same, and with svhn_cropped_cnn: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config
from seqdigits.models.encoders import rcnn


def get_config() -> ConfigDict:
    config = load_config("rcnn")
    config.data.photographs = "svhn_2000"
    config.data.parts = ("train",)
    config.data.cutout = 28
    config.model.encoder = rcnn(48, dropout=0.2)
    config.optim.warmup_steps = 100
    config.optim.decay_steps = 5_000
    config.train.batch_size = 64
    config.train.steps = 5_000  # 79 epochs of 4,034
    config.train.log_every = 100
    config.train.checkpoint_every = 1_000
    config.evaluate.every = 1_000
    return config
