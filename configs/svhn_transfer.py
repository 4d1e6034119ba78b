"""House numbers of 1 to 6 digits, first stage.

The network of svhn_paper_heads on photographs whose pixels are standardized over the training set; digits only. The second stage is
svhn_transfer_box.

    python -m seqdigits.main --config configs/svhn_transfer.py --workdir runs/svhn_transfer

Published (train / test): sequence accuracy 0.69 / 0.43, character accuracy 0.92 / 0.84 after 30,000 steps of 50, Adam
1e-4, on 33,402 photographs; ours keeps 4,000 of them for validation. On the first 2,000 photographs only:
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
    config.optim.learning_rate = 1e-4
    config.train.steps = 30_000
    return config
