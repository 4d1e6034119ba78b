"""House numbers of 1 to 6 digits, the whole photograph resized to 128x256.

Six wide convolutions, six dense heads and a box head with dropout before them, 1,175,910 parameters.

    python -m seqdigits.main --config configs/svhn_paper_heads.py --workdir runs/svhn_paper_heads

Published (train / test): localization error 91.7 / 264.7 px², sequence accuracy 0.83 / 0.40, character accuracy 0.96 /
0.82 after 30,000 steps of 50, Adam 1e-4, on 33,402 photographs; ours keeps 4,000 of them for validation. On the first
2,000 photographs only: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "photograph"
    config.data.min_length = 1
    config.data.max_length = 6
    config.model.name = "heads"
    config.model.pixels = "raw"
    config.model.encoder = (
        "conv 5x5x48, relu, pool 2, conv 5x5x64, relu, pool 2, conv 5x5x128, relu, pool 2, conv 5x5x160, "
        "relu, pool 2, conv 2x2x192, relu, pool 2, conv 2x2x192, relu, pool 2"
    )
    config.model.head = "dropout 0.2"
    config.model.localize = True
    config.model.box_head = "dropout 0.2"
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1000.0
    config.loss.box = 1.0
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
