"""Synthetic scenes: handwritten and printed numbers on varied backgrounds, with distractors; dense detector.

No photograph is in training.

    python -m seqdigits.main --config configs/reader_scene.py --workdir runs/reader_scene

Scenes of 64x128 with digits of 8 to 60 pixels, which two CPU cores can train. Larger ones, with digits of 10 to 120:
--config.data.height=128 --config.data.width=256 --config.data.min_digit=10 --config.data.max_digit=120

To evaluate it on photographs: --config configs/reader_svhn.py --mode evaluate --checkpoint runs/reader_scene/checkpoints/STEP, or
--checkpoint scene for the pretrained weights.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.models.encoders import residual_pyramid


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "scene"
    config.data.height = 64
    config.data.width = 128
    config.data.min_digit = 8
    config.data.max_digit = 60
    config.data.min_length = 1
    config.data.max_length = 10
    config.data.max_numbers = 3
    config.data.train_examples = 0
    config.data.validation_examples = 2_000
    config.data.test_examples = 5_000
    config.model.pixels = "image_mean"
    config.model.encoder = residual_pyramid()
    config.decode.max_numbers = 3
    config.decode.group_digits = True
    config.decode.min_score = 0.6  # this and the next three keys: from seqdigits calibrate, on validation
    config.decode.temperature = 0.4887
    config.decode.platt_scale = 1.325
    config.decode.platt_bias = 2.32
    config.loss.cells = 1.0
    config.loss.cell_boxes = 1.0
    config.loss.target = "center_sampling"
    config.loss.target_radius = 0.25
    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 300
    config.optim.decay_steps = 6_500
    config.optim.weight_decay = 1e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.999
    config.train.batch_size = 64
    config.train.steps = 6_500  # 416,000 scenes
    config.train.log_every = 100
    config.train.checkpoint_every = 500
    config.evaluate.every = 1_300
    config.evaluate.examples = 500
    return config
