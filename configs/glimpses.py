"""Two digits anywhere on 100x100, read by six glimpses of 24 pixels: deep recurrent attention, 1,844,445 parameters.

Ba et al. 2014, "Multiple object recognition with visual attention", arXiv:1412.7755: where to look is learned by the score
function (REINFORCE) from whether a digit was read right.

    python -m seqdigits.main --config configs/glimpses.py --workdir runs/glimpses

Published: 5% of pairs wrong. Two GRUs instead of LSTMs; the sizes, the reward of each digit by itself and the training are ours.
Digits side by side, which is easier: --config.data.scattered=False
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.height = 100
    config.data.width = 100
    config.data.min_length = 2
    config.data.max_length = 2
    config.data.scattered = True
    config.data.train_examples = 0
    config.data.validation_examples = 5_000
    config.data.test_examples = 10_000
    config.model.name = "glimpses"
    config.model.context = "conv 5x5x16 /2, relu, conv 3x3x32 /2, relu"
    config.model.encoder = "conv 5x5x16 /2, relu, conv 3x3x32 /2, relu, conv 3x3x64, relu"
    config.model.head = "dense 128, relu"
    config.model.gru_units = 256
    config.model.glimpses = 3
    config.model.glimpse_size = 24
    config.model.glimpse_deviation = 0.1
    config.loss.digits = 1.0
    config.loss.policy = 0.1
    config.loss.baseline = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.optim.decay_steps = 20_000
    config.optim.clip_norm = 1.0
    config.train.batch_size = 128
    config.train.steps = 20_000  # 2,560,000 images
    return config
