"""1 to 5 digits anywhere on 128x256.

The network of canvas_variable (canvas_weighted with 11 classes) with a sixth convolution, and dropout in the box head,
4,174,589 parameters.

    python -m seqdigits.main --config configs/canvas_variable_deeper.py --workdir runs/canvas_variable_deeper

Not published. 30,000 steps of 50, Adam 1e-4.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("canvas_weighted")
    config.data.min_length = 1
    config.model.encoder = (
        "conv 10x10x8, relu, pool 2, conv 8x8x14, relu, pool 2, conv 6x6x20, relu, pool 2, conv 4x4x24, "
        "relu, pool 2, conv 2x2x32, relu, pool 2, conv 2x2x128, relu, pool 2"
    )
    config.model.box_head = (
        "dense 768, relu, dropout 0.2, dense 512, relu, dropout 0.2, dense 256, relu, dropout 0.2, dense 64, "
        "relu, dropout 0.2, dense 32, relu, dropout 0.2"
    )
    return config
