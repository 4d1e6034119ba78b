"""One digit by two convolutions and dropout, 34,826 parameters.

Pixels 0..255, the last 10% of the training digits held out. Data and model type are those of mnist_linear.

    python -m seqdigits.main --config configs/mnist_cnn_dropout.py --workdir runs/mnist_cnn_dropout

Published: test accuracy 0.9826, cross entropy 0.0555, validation 0.9872, after 3 epochs of batch 32, Adam 1e-3.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("mnist_linear")
    config.data.validation_percent = 10
    config.data.validation_place = "last"
    config.model.pixels = "raw"
    config.model.encoder = "conv 3x3x32 valid, relu, pool 2 valid, conv 3x3x64 valid, relu, pool 2 valid, dropout 0.5"
    config.model.kernel_init = "glorot_uniform"
    config.train.batch_size = 32
    config.train.steps = 5_064  # 3 epochs of 54,000
    config.evaluate.every = 1_688
    return config
