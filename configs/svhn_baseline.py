"""House numbers of 1 to 6 digits, the whole photograph squeezed to 128x256: the network of canvas_weighted, a GRU of
six steps, 4,166,024 parameters.

    python -m seqdigits.main --config configs/svhn_baseline.py --workdir runs/svhn_baseline

Published (train / test): localization error 82.0 / 351.6 px², sequence accuracy 0.50 / 0.20, character accuracy 0.97 /
0.87 after 30,000 steps of 50, Adam 1e-4, on 33,402 photographs; ours keeps 4,000 of them for validation. The five
convolutions are those of the code; the text has four. On the first 2,000 photographs alone:
--config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "photograph"
    config.data.min_length = 1
    config.data.max_length = 6
    config.model.name = "gru"
    config.model.pixels = "raw"
    config.model.encoder = (
        "conv 10x10x8, relu, pool 2, conv 8x8x14, relu, pool 2, conv 6x6x20, relu, pool 2, conv 4x4x24, "
        "relu, pool 2, conv 2x2x32, relu, pool 2"
    )
    config.model.gru_units = 576
    config.model.localize = True
    config.model.box_head = "dense 768, relu, dense 512, relu, dense 256, relu, dense 64, relu, dense 32, relu"
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1000.0
    config.loss.box = 1.0
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
