"""1 to 5 digits of 12x12 pixels in the middle of 64x64, pixels 0..255.

Three convolutions and five heads, 399,927 parameters.

    python -m seqdigits.main --config configs/square64_cnn.py --workdir runs/square64_cnn

Published: character accuracy 0.9652 (validation 0.9652) after 200,000 steps of 64, Adagrad 0.1 x 0.96^(step / 10,000),
13 h 14. Its splits share digits, and have 10,000 images of each length; ours share none, and draw the length of each image. The
loss is assumed to be the sum over the positions.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "centered"
    config.data.height = 64
    config.data.width = 64
    config.data.min_length = 1
    config.data.train_examples = 37_500
    config.data.validation_examples = 2_500
    config.data.test_examples = 10_000
    config.model.name = "heads"
    config.model.pixels = "raw"
    config.model.encoder = (
        "conv 5x5x16 valid, relu, pool 2 valid, conv 5x5x32 valid, relu, pool 2 valid, conv 5x5x64 valid, "
        "relu, dropout 0.5, dense 64, relu"
    )
    config.model.kernel_init = "glorot_uniform"
    config.model.bias_init = 1.0
    config.loss.digits = 1.0
    config.loss.positions = "sum"
    config.optim.name = "adagrad"
    config.optim.learning_rate = 0.1
    config.optim.schedule = "exponential"
    config.optim.decay_steps = 10_000
    config.optim.decay_rate = 0.96
    config.train.batch_size = 64
    config.train.steps = 200_000
    config.train.log_every = 500
    config.train.checkpoint_every = 5_000
    config.train.best_metric = "character_accuracy"
    config.evaluate.every = 5_000
    config.evaluate.examples = 0
    return config
