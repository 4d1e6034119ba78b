"""One digit, MNIST, by the dense detector: on 28x28 pixels, one cell in the middle of the grid predicts the digit.

    python -m seqdigits.main --config configs/reader_canvas.py --workdir runs/reader_canvas
    python -m seqdigits.main --config configs/reader_mnist.py --workdir runs/reader_mnist

It is initialized from `reader_canvas`, which has learned the same 55,000 digits, and trains 8 epochs on them, each warped differently
at every visit, with the moving average of the weights.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.models.encoders import RESIDUAL_STRIDE_8


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "digit"
    config.data.min_length = 1
    config.data.max_length = 1
    config.data.rotation = 12
    config.data.zoom = 12
    config.data.shear = 12
    config.data.shift = 2
    config.data.elastic = 150
    config.model.encoder = RESIDUAL_STRIDE_8
    config.init.path = "runs/reader_canvas"
    config.loss.cells = 1.0
    config.loss.cell_boxes = 1.0
    config.loss.target = "center_sampling"
    config.loss.target_radius = 0.3
    config.optim.name = "adamw"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.optim.decay_steps = 4_400
    config.optim.weight_decay = 1e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.999
    config.train.batch_size = 100
    config.train.steps = 4_400  # 8 epochs
    config.train.log_every = 550
    config.train.checkpoint_every = 1_100
    config.evaluate.every = 1_100
    config.evaluate.examples = 0
    return config
