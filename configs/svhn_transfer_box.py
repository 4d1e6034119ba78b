"""House numbers of 1 to 6 digits, second stage: what svhn_transfer learned is taken and frozen, and a box head trained
on it.

    python -m seqdigits.main --config configs/svhn_transfer_box.py --workdir runs/svhn_transfer_box

Planned, never published. It begins with what lies in runs/svhn_transfer: --config.init.path=DIR names another. On the
first 2,000 photographs alone: --config.data.photographs=svhn_2000
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
    config.model.localize = True
    config.model.box_head = "dropout 0.2"
    config.model.kernel_init = "truncated_normal"
    config.model.bias_init = 0.1
    config.init.path = "runs/svhn_transfer"
    config.init.params = "encoder/.*|head_.*"
    config.loss.box = 1.0
    config.optim.learning_rate = 1e-4
    config.optim.freeze = "encoder/.*|head_.*"
    config.train.steps = 30_000
    config.train.best_metric = "localization_error"
    return config
