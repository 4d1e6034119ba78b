"""Five digits side by side, 28x140, by a GRU that attends to the feature map for each digit; future work of the publication.

    python -m seqdigits.main --config configs/strip5_attention.py --workdir runs/strip5_attention

On strips computed on the fly, each digit warped. Published, with GRUs that read the flattened map: sequence accuracy
0.80 to 0.88.
"""

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config


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
    config.model.name = "attention"
    config.model.gru_units = 128
    config.model.shared_head = True
    config.model.encoder = "space_to_depth 2, conv 3x3x32, norm, relu, conv 3x3x64 /2, norm, relu, conv 3x3x64, norm, relu, conv 3x3x64, norm, relu"
    config.loss.digits = 1.0
    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.optim.decay_steps = 1_000
    config.optim.weight_decay = 1e-2
    config.optim.clip_norm = 1.0
    config.optim.moving_average = 0.995
    config.train.batch_size = 64
    config.train.steps = 1_000  # 64,000 strips
    config.train.log_every = 100
    config.train.checkpoint_every = 500
    config.evaluate.every = 500
    return config
