"""Statistics of the training images, against numpy on the same images."""

import jax
import jax.numpy as jnp
import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch
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


class ThreeImages:
    """A source of images of two digits, of one and of none."""

    statistics_limit = 3

    def all(self, _size, limit):
        yield {"index": np.arange(limit, dtype=np.int32)}

    def make(self, _arrays, host_batch, key, train):
        box = jnp.array([[10.0, 8, 4, 6], [20, 8, 4, 6]])
        digits = jnp.array([[1, 7], [3, NO_DIGIT], [NO_DIGIT, NO_DIGIT]])
        boxes = jnp.where((digits != NO_DIGIT)[..., None], box, 0.0)
        return Batch(jnp.zeros((3, 16, 32, 1), jnp.uint8), digits, boxes, host_batch["index"])


def test_mean_box_is_that_of_the_images_with_a_digit(small_config):
    measured = input_stats.measure(small_config({}), ThreeImages(), {}, Devices(), {"mean_box": np.zeros(4)})
    np.testing.assert_allclose(measured["mean_box"], [(15 + 10) / 2, 8, (14 + 4) / 2, 6])
