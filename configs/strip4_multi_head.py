"""Four digits on 64x208, each rotated by up to 45 degrees and shifted by up to 4 pixels, never touching.

Four dense heads on the same features, 3,417,960 parameters.

    python -m seqdigits.main --config configs/strip4_multi_head.py --workdir runs/strip4_multi_head

Published: validation accuracy per head 0.9967 0.9991 0.9970 0.9992, sum of the four cross entropies 0.0342, after 6
epochs of 20,000, batch 32, Adam 1e-3. The 4 pixels are assumed. (data.stacked = True: the digits are placed from top to bottom, with height and
width exchanged.)
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "rotated"
    config.data.jitter = 4
    config.data.height = 64
    config.data.width = 208
    config.data.min_length = 4
    config.data.max_length = 4
    config.data.train_examples = 20_000
    config.data.validation_examples = 5_000
    config.data.test_examples = 5_000
    config.model.name = "heads"
    config.model.encoder = (
        "conv 3x3x16, relu, pool 2, dropout 0.2, conv 3x3x32, relu, pool 2, dropout 0.2, dense 128, dropout 0.5"
    )
    config.model.kernel_init = "glorot_uniform"
    config.loss.digits = 1.0
    config.loss.digit_loss = "one_hot_cross_entropy"
    config.loss.positions = "sum"
    config.optim.learning_rate = 1e-3
    config.train.batch_size = 32
    config.train.steps = 3_750  # 6 epochs of 20,000
    config.train.log_every = 125
    config.train.checkpoint_every = 625
    config.evaluate.every = 625
    config.evaluate.examples = 0
    return config
