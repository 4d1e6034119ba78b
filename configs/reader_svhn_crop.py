"""House numbers cropped to the true box plus 30% of its width and height, 64x64 in color, with the dense detector.

    python -m seqdigits.main --config configs/reader_svhn.py --workdir runs/reader_svhn
    python -m seqdigits.main --config configs/reader_svhn_crop.py --workdir runs/reader_svhn_crop

It is initialized from `reader_svhn`, which has learned the same photographs uncropped: the first 2,000 of train (1,800, and 200
held out), each augmented differently at every visit. All photographs, in both commands: --config.data.photographs=svhn.
From the pretrained weights, and with fewer photographs (--config.data.train_photographs=N): --config.init.path=scene
--config.optim.learning_rate=1e-3 --config.train.steps=2500 --config.optim.decay_steps=2500, followed by seqdigits calibrate.

Published, on the same crops at 32x32: 0.8505 to 0.9176; by others at 54x54: 0.9603 and more; all on 229,754 photographs.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("reader_svhn")
    config.data.composition = "crop"
    config.data.height = 64
    config.data.pasted = 0
    config.data.shift = 6
    config.data.train_height = 0
    config.data.train_width = 0
    config.data.width = 64
    config.data.zoom = 30
    config.evaluate.every = 500
    config.init.path = "runs/reader_svhn"
    config.optim.decay_steps = 1500
    config.optim.learning_rate = 0.0005
    config.optim.moving_average = 0.998
    config.optim.warmup_steps = 100
    config.decode.group_digits = False
    config.decode.octaves = 0
    config.decode.min_score = 0.6  # this and the next three keys: from seqdigits calibrate, on validation
    config.decode.platt_bias = 2.677
    config.decode.platt_scale = 1.496
    config.decode.temperature = 0.1556
    config.train.batch_size = 64
    config.train.checkpoint_every = 500
    config.train.log_every = 50
    config.train.steps = 1500  # 27 epochs of 1,800
    return config
