"""House numbers of 1 to 6 digits: svhn_transfer with 0.001 x the sum of squares of the weights of the convolutions (the
code: of half of it).

    python -m seqdigits.main --config configs/svhn_transfer_l2.py --workdir runs/svhn_transfer_l2

Published (train / test): sequence accuracy 0.89 / 0.36, character accuracy 0.92 / 0.82 after 30,000 steps of 50, Adam
1e-4, on 33,402 photographs; ours keeps 4,000 of them for validation. On the first 2,000 photographs alone:
--config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "photograph"
    config.data.min_length = 1
    config.data.max_length = 6
    config.model.name = "heads"
    config.model.pixels = "per_pixel"
    config.model.encoder = (
        "conv 5x5x48, relu, pool 2, conv 5x5x64, relu, pool 2, conv 5x5x128, relu, pool 2, conv 5x5x160, "
        "relu, pool 2, conv 2x2x192, relu, pool 2, conv 2x2x192, relu, pool 2"
    )
    config.model.head = "dropout 0.2"
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.loss.digits = 1.0
    config.loss.l2 = 0.002  # of half the sum of squares: 0.001 of the sum
    config.loss.l2_params = "encoder/Conv_.*/kernel"
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
