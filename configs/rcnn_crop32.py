"""House numbers of 1 to 5 digits, cropped to the true box, 32x32 gray: the recurrent convolutions of rcnn, 870,263 parameters.

    python -m seqdigits.main --config configs/rcnn_crop32.py --workdir runs/rcnn_crop32

The network of rcnn, flattened before five heads, because the maximum over all positions would lose the order of the digits; on
the data and with the training of svhn_crop32. On the first 2,000 photographs only: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config
from seqdigits.models.encoders import rcnn


def get_config() -> ConfigDict:
    config = load_config("svhn_crop32")
    config.model.encoder = rcnn(96, dropout=0.5).removesuffix("max") + "pool 2, dense 128, relu"
    config.model.kernel_init = "lecun_normal"
    return config
