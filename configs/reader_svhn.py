"""House numbers, the whole photograph and no crop to the true box, with the dense detector.

Photographs are resized to 128x256 and decoded at that size and at 3/4, 1/2 and 3/8 of it. Training uses 64x128 only.

    python -m seqdigits.main --config configs/reader_svhn.py --workdir runs/reader_svhn

It is initialized from the pretrained weights `scene`, which `reader_scene` learned from synthetic scenes, and trains on the first
2,000 photographs of train (1,800, and 200 held out), each augmented differently at every visit, three of ten pasted into natural
backgrounds (seqdigits build-backgrounds). Every second training image is a synthetic scene. All photographs:
--config.data.photographs=svhn

Published, on all 33,402 photographs and more: sequence accuracy 0.43 and less.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.models.encoders import residual_pyramid


def get_config() -> ConfigDict:
    config = base_config()
    config.data.composition = "photograph"
    config.data.photographs = "svhn_2000"
    config.data.height = 128
    config.data.width = 256
    config.data.train_height = 64
    config.data.train_width = 128
    config.data.min_length = 1
    config.data.max_length = 6
    config.data.rotation = 10
    config.data.zoom = 90
    config.data.shear = 10
    config.data.shift = 12
    config.data.color = 40
    config.data.pasted = 30
    config.data.mask_unlabeled = True
    config.data.half_scenes = True
    config.data.backgrounds = "~/.cache/seqdigits/backgrounds.jpg"
    config.data.min_digit = 8  # this and the next two keys: of the scenes
    config.data.max_digit = 60
    config.data.max_numbers = 3
    config.model.pixels = "image_mean"
    config.model.mean_jitter = 0.1
    config.model.encoder = residual_pyramid()
    config.decode.octaves = 1
    config.decode.group_digits = True
    config.decode.min_score = 0.55  # this and the next three keys: from seqdigits calibrate, on validation
    config.decode.temperature = 0.3181
    config.decode.platt_scale = 1.876
    config.decode.platt_bias = 2.473
    config.init.path = "scene"
    config.loss.cells = 1.0
    config.loss.cell_boxes = 1.0
    config.loss.normalizer = "batch"
    config.loss.target = "center_sampling"
    config.loss.target_radius = 0.25
    config.optim.name = "adamw"
    config.optim.learning_rate = 1.5e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 300
    config.optim.decay_steps = 11_000
    config.optim.weight_decay = 5e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.999
    config.train.batch_size = 32
    config.train.steps = 11_000  # 98 epochs of 1,800
    config.train.log_every = 100
    config.train.checkpoint_every = 1_000
    config.evaluate.every = 1_000
    config.evaluate.examples = 0
    return config
