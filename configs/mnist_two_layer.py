"""One digit by two linear maps with nothing between: 784 -> 64 -> 10, 50,890 parameters.

    python -m seqdigits.main --config configs/mnist_two_layer.py --workdir runs/mnist_two_layer

Published: test accuracy 0.92, cross entropy 0.41, after 10,000 steps of 50, Adam 1e-3. Ours: 0.9242, 0.2791.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "digit"
    config.data.min_length = 1
    config.data.max_length = 1
    config.model.name = "heads"
    config.model.head = "dense 64"
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-3
    config.train.steps = 10_000
    config.train.log_every = 500
    config.evaluate.every = 2_000
    config.evaluate.examples = 0
    return config
