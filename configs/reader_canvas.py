"""1 to 5 digits anywhere on 128x256, read and localized by the dense reader, on canvases computed as they are needed.

    python -m seqdigits.main --config configs/reader_canvas.py --workdir runs/reader_canvas

Published (another network, 1,500,000 images, 8 hours): sequence accuracy 0.80, localization error 2.93 px². Ours
(80,000 images, 15 minutes on two CPU cores): 0.9271 and 0.73 px² on test.
"""

from ml_collections import ConfigDict

from seqdigits.config import base_config


def get_config() -> ConfigDict:
    config = base_config()
    config.data.min_length = 1
    config.data.train_examples = 0
    config.data.rotation = 10
    config.data.zoom = 10
    config.data.shear = 10
    config.model.encoder = (
        "conv 5x5x16 /2, norm, relu, conv 3x3x32 /2, norm, relu, conv 3x3x48 /2, norm, relu, "
        "conv 3x3x64, norm, relu, conv 3x3x64, norm, relu"
    )
    config.loss.cells = 1.0
    config.loss.cell_boxes = 1.0
    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.optim.decay_steps = 1_250
    config.optim.weight_decay = 1e-2
    config.optim.clip_norm = 1.0
    config.train.batch_size = 64
    config.train.steps = 1_250  # 80,000 images
    config.train.log_every = 50
    config.train.checkpoint_every = 250
    config.evaluate.every = 250
    return config
