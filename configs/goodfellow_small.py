"""House numbers of the first 2,000 photographs, 54x54 cut-outs: the network of goodfellow, narrower, 2,437,473 parameters.

    python -m seqdigits.main --config configs/goodfellow_small.py --workdir runs/goodfellow_small

On 1,800 photographs, and 200 held out. For comparison with svhn_crop32 on the same:
--config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config
from seqdigits.models.encoders import goodfellow


def get_config() -> ConfigDict:
    config = load_config("goodfellow")
    config.data.photographs = "svhn_2000"
    config.data.parts = ("train",)
    config.model.encoder = goodfellow((16, 24, 32, 48, 64, 64, 64, 64), dense=256, dropout=0.1)
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.optim.decay_steps = 10_000
    config.optim.decay_rate = 0.0
    config.train.batch_size = 32
    config.train.steps = 10_000  # 178 epochs of 1,800
    config.evaluate.examples = 0
    return config
