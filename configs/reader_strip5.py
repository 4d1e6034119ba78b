"""Five digits side by side, 28x140, with the dense detector.

    python -m seqdigits.main --config configs/reader_canvas.py --workdir runs/reader_canvas
    python -m seqdigits.main --config configs/reader_strip5.py --workdir runs/reader_strip5

It is initialized from `reader_canvas` and trains on strips, which are canvases without a margin.

Published (other networks, 500,000 to 1,500,000 images): sequence accuracy 0.80 to 0.88.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.models.encoders import RESIDUAL_STRIDE_8


def get_config() -> ConfigDict:
    config = base_config()
    config.data.height = 28
    config.data.width = 140
    config.data.train_examples = 0
    config.data.validation_examples = 5_000
    config.data.rotation = 12
    config.data.zoom = 12
    config.data.shear = 12
    config.data.elastic = 150
    config.model.encoder = RESIDUAL_STRIDE_8
    config.init.path = "runs/reader_canvas"
    config.loss.cells = 1.0
    config.loss.cell_boxes = 1.0
    config.loss.target = "center_sampling"
    config.loss.target_radius = 0.3
    config.optim.name = "adamw"
    config.optim.learning_rate = 5e-4
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 100
    config.optim.decay_steps = 1_500
    config.optim.weight_decay = 1e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.998
    config.train.batch_size = 64
    config.train.steps = 1_500  # 96,000 strips
    config.train.log_every = 50
    config.train.checkpoint_every = 500
    config.evaluate.every = 500
    return config
