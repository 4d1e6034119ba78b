"""One digit cropped from a photograph of a house number, color, random 28x28 crops of 32x32.

Six convolutions with batch norm. Ours, for comparison with svhn_cropped_cnn on the same photographs.

    python -m seqdigits.main --config configs/svhn_cropped_norm.py --workdir runs/svhn_cropped_norm

The first 2,000 photographs of train (4,034 digits, and 400 for validation) and the first 500 of test.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "cropped_digit"
    config.data.photographs = "svhn_2000"
    config.data.height = 32
    config.data.width = 32
    config.data.cutout = 28
    config.data.min_length = 1
    config.data.max_length = 1
    config.model.name = "heads"
    config.model.pixels = "image_mean"
    config.model.encoder = (
        "conv 3x3x32, norm, relu, conv 3x3x32 /2, norm, relu, dropout 0.2, "
        "conv 3x3x64, norm, relu, conv 3x3x64 /2, norm, relu, dropout 0.3, "
        "conv 3x3x128, norm, relu, conv 3x3x128 /2, norm, relu, dropout 0.5"
    )
    config.loss.digits = 1.0
    config.optim.name = "adamw"
    config.optim.learning_rate = 3e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 100
    config.optim.decay_steps = 5_000
    config.optim.weight_decay = 5e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.999
    config.train.batch_size = 64
    config.train.steps = 5_000
    config.evaluate.examples = 0
    return config
