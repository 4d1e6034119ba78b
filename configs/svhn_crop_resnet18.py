"""House numbers cropped to the true box, 64x64 in color, by a residual network of 18 layers with five dense heads.

He et al. 2015, arXiv:1512.03385, table 1. Future work of the publication.

    python -m seqdigits.main --config configs/svhn_crop_resnet18.py --workdir runs/svhn_crop_resnet18

On the first 2,000 photographs of train (1,800, and 200 held out), augmented as for `reader_svhn_crop`, randomly
initialized. Published, smaller networks on 229,754 photographs of 32x32: sequence accuracy 0.8505 to 0.9176.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "crop"
    config.data.photographs = "svhn_2000"
    config.data.height = 64
    config.data.width = 64
    config.data.min_length = 1
    config.data.rotation = 10
    config.data.zoom = 30
    config.data.shear = 10
    config.data.shift = 6
    config.data.color = 40
    config.model.name = "heads"
    config.model.pixels = "image_mean"
    blocks = [
        _block(f"{features}_{i}", features, 1 + (features > 64 and i == 1)) for features in _WIDTHS for i in (1, 2)
    ]
    config.model.encoder = ", ".join(["conv 7x7x64 /2, norm, relu, pool 3 /2", *blocks, "mean"])
    config.loss.digits = 1.0
    config.optim.name = "adamw"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 100
    config.optim.decay_steps = 700
    config.optim.weight_decay = 5e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.99
    config.train.batch_size = 64
    config.train.steps = 700  # 25 epochs of 1,800
    config.train.log_every = 25
    config.train.checkpoint_every = 175
    config.evaluate.every = 350
    config.evaluate.examples = 0
    return config


_WIDTHS = (64, 128, 256, 512)


def _block(name: str, features: int, stride: int) -> str:
    """Returns the layer text of a residual block of two convolutions.

    The first convolution of each width but the first has stride 2.
    """
    first = f"conv 3x3x{features} /{stride}" if stride > 1 else f"conv 3x3x{features}"
    return f"keep b{name}, {first}, norm, relu, conv 3x3x{features}, norm, add b{name}, relu"
