"""1 to 5 digits on 128x256: the detector of `reader_canvas`, and a classifier that looks again at each digit it finds.

    python -m seqdigits.main --config configs/reader_canvas_second_look.py --workdir runs/reader_canvas_second_look

The detector is that of `reader_canvas`, taken from the pretrained weights `handwriting` without their classifier, and stays as it
is. Its centers are exact to 0.3 pixels on average, so the classifier sees the digit in its 28x28 pixels, as in MNIST.
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("reader_canvas")
    config.init.path = "handwriting"
    config.init.params = "(encoder|digits|place)/.*"
    config.model.second_look = (
        "conv 3x3x32, norm, relu, conv 3x3x48 /2, norm, relu, keep a, conv 3x3x48, norm, relu, conv 3x3x48, norm, add a, relu, "
        "conv 3x3x96 /2, norm, relu, keep b, conv 3x3x96, norm, relu, conv 3x3x96, norm, add b, relu, dense 10"
    )
    config.decode.temperature = 0.2184  # this and the next two keys: from seqdigits calibrate, on validation
    config.decode.platt_scale = 1.307
    config.decode.platt_bias = 2.711
    config.loss.second_look = 1.0
    config.optim.freeze = "(encoder|digits|place)/.*"
    config.optim.learning_rate = 3e-3
    config.optim.decay_steps = 3_000
    config.train.steps = 3_000  # 192,000 images, 864,000 digits
    config.evaluate.every = 1_000
    return config
