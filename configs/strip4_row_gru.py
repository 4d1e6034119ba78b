"""Four digits on 64x208, each rotated by up to 45 degrees and shifted by up to 4 pixels, never touching.

A GRU of 40 units over the 64 rows, whose last state is split into four, one for each digit; 29,990 parameters.

    python -m seqdigits.main --config configs/strip4_row_gru.py --workdir runs/strip4_row_gru

Published: validation accuracy 0.934 (best shown 0.9363), cross entropy 0.2291, after 100 epochs of 15,000, batch 128,
Adam 1e-3. The GRU is that of Keras 2. The 4 pixels are assumed.
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
    config.data.train_examples = 15_000
    config.data.validation_examples = 5_000
    config.data.test_examples = 5_000
    config.model.name = "row_gru"
    config.model.gru_units = 40
    config.model.gru_cell = "keras2"
    config.model.shared_head = True
    config.model.kernel_init = "glorot_uniform"
    config.loss.digits = 1.0
    config.optim.learning_rate = 1e-3
    config.train.batch_size = 128
    config.train.steps = 11_720  # 100 epochs of 15,000
    config.train.log_every = 100
    config.train.checkpoint_every = 1_172
    config.train.best_metric = "character_accuracy"
    config.evaluate.every = 1_172
    config.evaluate.examples = 0
    return config
