"""Statistics of the training images, against numpy on the same images."""

import jax
import numpy as np

from seqdigits.data.create import create_source
from seqdigits.parallel.devices import Devices
from seqdigits.training import input_stats


def test_measure_equals_numpy_on_the_same_images(small_config):
    config = small_config({"data.train_examples": 30})
    source, devices = create_source(config, "train"), Devices()
    arrays = devices.replicate(source.arrays)
    (host_batch,) = source.all(30)
    batch = jax.jit(lambda a, h, k: source.make(a, h, k, train=False))(arrays, host_batch, jax.random.key(0))
    empty = {"mean_box": np.zeros(4), "pixels": {"mean": 0, "deviation": 0}}
    measured = input_stats.measure(config, source, arrays, devices, empty)
    images = np.asarray(batch.image, np.float64)
    np.testing.assert_allclose(measured["pixels"]["mean"], images.mean(0), rtol=1e-5)
    np.testing.assert_allclose(measured["pixels"]["deviation"], images.std(0), rtol=1e-4, atol=1e-4)
    spans = []
    for boxes, digits in zip(batch.boxes, batch.digits, strict=True):
        present = np.asarray(boxes)[np.asarray(digits) != 10]
        left, right = present[0, 0] - 14, present[-1, 0] + 14
        spans.append([(left + right) / 2, present[0, 1], right - left, 28])
    np.testing.assert_allclose(measured["mean_box"], np.mean(spans, 0), rtol=1e-5)
    assert set(input_stats.measure(config, source, arrays, devices, {"mean_box": np.zeros(4)})) == {"mean_box"}
