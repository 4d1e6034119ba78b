"""Tests of synthetic scenes: the agreement of labels and images, and their variety."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import production_compiler
from ml_collections import ConfigDict

from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.types import Batch
from seqdigits.data import digits
from seqdigits.data.create import create_source
from seqdigits.data.scenes import views
from seqdigits.data.scenes.draws import Draws
from seqdigits.data.scenes.glyphs import load
from seqdigits.data.scenes.layout import DIGIT_HEIGHT, MAX_WORDS, ONE, Scene, boxes, lay_out
from seqdigits.data.scenes.text import render_text
from seqdigits.data.source import DataSource

SCENE = {
    "data.composition": "scene",
    "data.height": 64,
    "data.width": 128,
    "data.min_length": 1,
    "data.max_length": 8,
    "data.max_numbers": 3,
    "data.train_examples": 1000,
    "data.validation_examples": 100,
    "data.test_examples": 100,
}


@pytest.fixture(scope="module", autouse=True)
def published_compiler() -> Iterator[None]:
    with production_compiler():
        yield


@pytest.fixture(scope="module")
def source(small_config: Callable[..., ConfigDict]) -> DataSource:
    return create_source(small_config(SCENE), "test")


@pytest.fixture(scope="module")
def make(source: DataSource) -> Callable[[np.ndarray], Batch]:
    """Returns a function from indices to a batch of numpy arrays, compiled once for batches of 100."""
    return functools.partial(make_batch, jax.jit(source.make, static_argnums=3), source)


def make_batch(compiled: Callable[..., Batch], source: DataSource, index: np.ndarray) -> Batch:
    host_batch = {"index": np.asarray(index, np.int32), "position": np.asarray(index, np.int32)}
    return jax.device_get(compiled(source.arrays, host_batch, jax.random.key(0), False))


@pytest.fixture(scope="module")
def batch(make: Callable[[np.ndarray], Batch]) -> Batch:
    return make(np.arange(100))


def digest(batch: Batch) -> str:
    """Returns the SHA-256 of image u8, digits i32, boxes f32 and number i32 (little-endian), example by example."""
    sha = hashlib.sha256()
    assert batch.number is not None
    for image, row, box, number in zip(batch.image, batch.digits, batch.boxes, batch.number, strict=True):
        assert (image.dtype, row.dtype, box.dtype, number.dtype) == (np.uint8, np.int32, np.float32, np.int32)
        sha.update(image.tobytes() + row.astype("<i4").tobytes())
        sha.update(box.astype("<f4").tobytes() + number.astype("<i4").tobytes())
    return sha.hexdigest()


def test_scenes_do_not_depend_on_batch_position(make, batch):
    order = np.roll(np.arange(100)[::-1], 37)
    order[5] = -1
    permuted = make(order)
    assert permuted.index[5] == -1
    order[5] = 0  # a padded row is computed like example 0
    for name in ("image", "digits", "boxes", "number"):
        np.testing.assert_array_equal(getattr(permuted, name), getattr(batch, name)[order])


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 8])
def test_scenes_do_not_depend_on_batch_size(source, batch, size):
    compiled = jax.jit(source.make, static_argnums=3)
    for start in (0, 64):
        part = make_batch(compiled, source, np.arange(start, start + size))
        for name in ("image", "digits", "boxes", "number"):
            np.testing.assert_array_equal(getattr(part, name), getattr(batch, name)[start : start + size])


@pytest.mark.soak
def test_scenes_do_not_depend_on_compilation(source, batch):
    with jax.disable_jit():
        part = source.make(jax.device_put(source.arrays), {"index": jnp.arange(2)}, jax.random.key(0), False)
    np.testing.assert_array_equal(part.image, batch.image[:2])
    np.testing.assert_array_equal(part.boxes, batch.boxes[:2])


def edges(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2


def enclosing_boxes(batch: Batch, row: int) -> list[np.ndarray]:
    """Returns left, top, right, bottom of each number of an example, in the order of the labels."""
    is_digit = batch.digits[row] != NO_DIGIT
    number = batch.number[row][is_digit]
    low, high = edges(batch.boxes[row][is_digit])
    return [np.concatenate([low[number == n].min(0), high[number == n].max(0)]) for n in range(number.max() + 1)]


def test_numbers_are_separated_and_ordered_by_y(batch):
    several = 0
    for row in np.flatnonzero((batch.digits != NO_DIGIT).any(1)):
        numbers = enclosing_boxes(batch, row)
        several += len(numbers) > 1
        for i, one in enumerate(numbers):
            for other in numbers[i + 1 :]:
                gap = np.maximum(other[:2] - one[2:], one[:2] - other[2:]).max()
                assert gap >= 4
                # The order is by the centers of the lines, from which those of the enclosing boxes differ slightly.
                assert other[1] + other[3] >= one[1] + one[3] - 8
    assert 10 <= several <= 45


def test_boxes_have_visible_contrast(batch):
    """Checks the range of the brightness within each box and one pixel around it."""
    gray = batch.image.astype(np.float64) @ [0.299, 0.587, 0.114]
    spans = []
    for image, row, box in zip(gray, batch.digits, batch.boxes, strict=True):
        low, high = edges(box[row != NO_DIGIT])
        for (x0, y0), (x1, y1) in zip(np.floor(low).astype(int), np.ceil(high).astype(int), strict=True):
            inside = image[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1]
            spans.append(np.subtract(*np.percentile(inside, [95, 5])))
    assert np.min(spans) > 6
    assert np.percentile(spans, 5) > 20
    assert np.median(spans) > 50


def test_boxes_fit_the_rendered_digits(source):
    """Checks that the pixels covered by a digit, without background and corruptions, end at the edges of its box."""
    scene, arrays = Scene(64, 128, 1, 1, 1, 20, 60), jax.device_put(source.arrays)

    def one(key):
        draws = Draws(key)
        glyphs, lines = lay_out(scene, draws, arrays, views.draw_view(draws, False))
        on_line = glyphs.line == 0
        only_digit = glyphs._replace(line=jnp.where(on_line & (jnp.arange(len(on_line)) == 0), 0, scene.lines))
        return render_text(scene, draws, only_digit, lines).cover, boxes(glyphs, lines)[0]

    covers, digit_boxes = jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 60)))
    distances = []
    has_digit = covers.any((1, 2))
    assert has_digit.mean() > 0.6
    for cover, box in zip(covers[has_digit] > 100, digit_boxes[has_digit] / 64, strict=True):
        rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
        distances.append([columns[0] - box[0], rows[0] - box[1], columns[-1] + 1 - box[2], rows[-1] + 1 - box[3]])
    inwards = np.array(distances) * [1, 1, -1, -1]
    assert inwards.min() > -2.5, "only a soft edge extends beyond the box"
    assert np.percentile(inwards, 25) < 1
    assert np.median(inwards) < 2, "the box encloses a rotated and sheared box, so it is slightly larger than the digit"


@pytest.fixture(scope="module")
def layouts(source: DataSource) -> tuple:
    """Returns the glyphs and the lines of 4,000 whole pictures of 128x256, without their pixels."""
    scene, arrays = Scene(128, 256, 1, 8, 3, 10, 120, whole=True), jax.device_put(source.arrays)

    def one(key):
        draws = Draws(key)
        glyphs, lines = lay_out(scene, draws, arrays, views.draw_view(draws, True))
        return glyphs._replace(cells=jnp.zeros(0)), lines

    return jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 4000)))


def test_digit_heights_cover_the_configured_range(layouts):
    _, lines = layouts
    heights = (lines.scale * DIGIT_HEIGHT / ONE)[:, :-MAX_WORDS][lines.present[:, :-MAX_WORDS]]
    assert heights.min() >= 8
    assert heights.max() <= 120
    counts = np.histogram(heights, [8, 14, 20, 28, 40, 56, 80, 121])[0]
    assert (counts > 0.05 * counts.sum()).all()


def test_layouts_have_the_expected_variety(layouts):
    glyphs, lines = layouts
    present = lines.present[:, :-MAX_WORDS]
    has_number = present.any(1)
    assert 0.63 < has_number.mean() < 0.71
    present = present[has_number]
    assert present[:, 0].all(), "the first number always has a free position"
    share = np.bincount(present.sum(1), minlength=4) / len(present)
    assert 0.6 < share[1] < 0.85
    assert share[2] > share[3] > 0.01
    assert 0.03 < (lines.stacked[has_number, :-MAX_WORDS] & present).sum() / present.sum() < 0.1
    assert 0.3 < lines.handwritten[:, 0].mean() < 0.55
    on_line = glyphs.line[has_number, :8, None] == np.arange(3)
    lengths = on_line.sum(1)
    assert set(lengths[present].tolist()) == {1, 2, 3, 4, 5, 6, 7, 8}
    assert lengths.sum(1).max() == 8


def test_source_has_the_digits_and_faces_of_its_split(small_config):
    config = small_config(SCENE)
    for split in SPLITS:
        source = create_source(config, split)
        images, labels = digits.load("uci", split, validation=0, folder="", url="")
        np.testing.assert_array_equal(source.arrays["images"], images)
        np.testing.assert_array_equal(source.arrays["labels"], labels)
        np.testing.assert_array_equal(source.arrays["type_digits"], load(split).digits)
        for name, shape in source.spec.arrays.items():
            assert (source.arrays[name].shape, source.arrays[name].dtype) == (shape.shape, shape.dtype), name


def test_source_has_separate_streams_by_split_and_if_endless(small_config):
    config = small_config(SCENE | {"data.train_examples": 0})
    assert create_source(config, "train").spec.num_examples is None
    examples = {split: create_source(config, split)._examples for split in SPLITS}
    assert len(set(examples.values())) == 3
    finite = create_source(small_config(SCENE), "train")
    assert finite.spec.num_examples == 1000
    assert finite._examples not in examples.values()


def test_gray_scenes_have_one_channel(small_config):
    source = create_source(small_config(SCENE | {"data.gray": True}), "test")
    host_batch = source.spec.host_batch(3)
    batch = jax.eval_shape(lambda a, h: source.make(a, h, jax.random.key(0), False), source.spec.arrays, host_batch)
    assert (batch.image.shape, batch.image.dtype) == ((3, 64, 128, 1), jnp.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.rotation": 5}, "data.rotation = 5 .*data.composition = scene"),
        ({"data.jitter": 5}, "data.jitter = 5 .*data.composition = scene"),
        ({"data.stacked": True}, "data.stacked = True .*data.composition = scene"),
        ({"data.cutout": 5}, "data.cutout = 5 .*data.composition = scene"),
        ({"data.photographs": "svhn_2000"}, "data.photographs = 'svhn_2000' .*data.composition = scene"),
        ({"data.max_digit": 9}, "data.min_digit = 10 .*data.max_digit = 9"),
        ({"data.min_digit": 60}, "data.min_digit = 60.*data.height = 64.* 48"),
        ({"data.height": 31}, "data.height.* = 31.* 32 to 1,?024"),
        ({"data.source": "tfrecord"}, "data.source = tfrecord: .*computed on the device"),
        ({"data.min_length": 9, "data.max_length": 10}, "data.min_length = 9: .*at most 8 digits"),
        ({"data.max_numbers": 0}, "data.max_numbers = 0 is out of range: 1 to 8"),
        ({"data.test_examples": 0}, "data.test_examples = 0.*training set"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_validate_rejects_unsupported_scene_settings(small_config, changes, message):
    validate(small_config(SCENE))
    with pytest.raises(UserError, match=f"(?s){message}"):
        validate(small_config(SCENE | changes))


@pytest.mark.parametrize("key", ["max_numbers", "min_digit", "max_digit"])
def test_validate_rejects_scene_keys_for_other_compositions(small_config, key):
    with pytest.raises(UserError, match=f"data.{key} = 8 .*data.composition = canvas"):
        validate(small_config({f"data.{key}": 8}))
