"""House numbers of 1 to 6 digits, second stage.

Initialized from svhn_transfer and frozen, with a box head trained on top.

    python -m seqdigits.main --config configs/svhn_transfer_box.py --workdir runs/svhn_transfer_box

Planned, never published. It is initialized from runs/svhn_transfer: --config.init.path=DIR names another run. On the
first 2,000 photographs only: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("svhn_transfer")
    config.model.localize = True
    config.model.box_head = "dropout 0.2"
    config.init.path = "runs/svhn_transfer"
    config.init.params = "encoder/.*|head_.*"
    config.loss.digits = 0.0
    config.loss.box = 1.0
    config.optim.freeze = "encoder/.*|head_.*"
    config.train.best_metric = "localization_error"
    return config
