"""House numbers of 1 to 6 digits, the whole photograph resized to 64x128, with the dense detector.

Ours: small and fast, for a first try with custom photos.

    python -m seqdigits.main --config configs/photograph_reader.py --workdir runs/photograph_reader

On the first 2,000 photographs of train and the first 500 of test, some minutes on two CPU cores. Custom photos:
--config.data.photographs=folder --config.data.folder=FOLDER
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "photograph"
    config.data.photographs = "svhn_2000"
    config.data.height = 64
    config.data.width = 128
    config.data.min_length = 1
    config.data.max_length = 6
    config.model.pixels = "image_mean"
    config.model.encoder = (
        "conv 5x5x16 /2, norm, relu, conv 3x3x32 /2, norm, relu, conv 3x3x48 /2, norm, relu, dropout 0.1, "
        "conv 3x3x64, norm, relu, dropout 0.3, conv 3x3x64, norm, relu, dropout 0.3, conv 3x3x64, norm, relu"
    )
    config.loss.cells = 1.0
    config.loss.cell_boxes = 1.0
    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 50
    config.optim.decay_steps = 1_000
    config.optim.weight_decay = 5e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.99
    config.train.batch_size = 64
    config.train.steps = 1_000
    config.train.log_every = 100
    config.train.checkpoint_every = 200
    config.evaluate.every = 200
    config.evaluate.examples = 0
    return config
