"""House numbers of 1 to 5 digits, cropped to the true box, 32x32 gray.

The network of svhn_crop32_deep with 5x5 kernels, 1,809,047 parameters.

    python -m seqdigits.main --config configs/svhn_crop32_deep5.py --workdir runs/svhn_crop32_deep5

Published: sequence accuracy 0.9052 (by length 0.915 0.914 0.866 0.781 0), digit accuracy 0.942, after 56,000 steps of
128, RMSProp 1e-3 halved every 7,500, on 235,754 photographs, the validation set among them; ours excludes it. On the
first 2,000 photographs only: --config.data.photographs=svhn_2000

Pixels are assumed to be 0..1 before the mean is subtracted.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("svhn_crop32_deep")
    config.model.encoder = (
        "dropout 0.1, conv 5x5x32, relu, conv 5x5x32, relu, pool 2, conv 5x5x64, relu, conv 5x5x64, relu, "
        "pool 2, dropout 0.25, conv 5x5x128, relu, conv 5x5x128, relu, conv 5x5x128, relu, pool 2, "
        "dropout 0.5, dense 256, relu, dropout 0.5, dense 256, relu"
    )
    config.optim.decay_steps = 7_500
    config.train.steps = 56_000
    return config
