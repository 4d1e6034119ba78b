"""Composed examples: golden hashes, pixels computed by hand, disjoint splits, and augmentation."""

from __future__ import annotations

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import production_compiler
from golden_examples import GOLDEN, GOLDEN_CONFIGS, KEY, digest, layout, make, split_arrays

from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.data.create import create_source
from seqdigits.data.source import DataSource
from seqdigits.data.synthetic import compositions, deterministic_ops
from seqdigits.data.synthetic.compositions import COMPOSITIONS, Augmentation, Canvas, Centered, Digit, Rotated
from seqdigits.data.synthetic.deterministic_ops import ONE


@production_compiler()
@pytest.mark.parametrize("name", GOLDEN_CONFIGS)
@pytest.mark.parametrize("digit_set", ["uci", "mnist"])
def test_golden_examples_0_to_99(small_config, request, digit_set, name):
    folder = str(request.getfixturevalue("mnist_folder")) if digit_set == "mnist" else ""
    split, overrides = GOLDEN_CONFIGS[name]
    config = small_config(overrides | {"data.digits": digit_set})
    batch = make(create_source(config, split), split_arrays(digit_set, split, folder), np.arange(100))
    assert digest(batch) == GOLDEN.get((digit_set, name))


def test_every_composition_has_golden_examples():
    named = {overrides.get("data.composition", "canvas") for _, overrides in GOLDEN_CONFIGS.values()}
    assert named == set(COMPOSITIONS)


GOLDEN_AUGMENTED = "ec38d14768d0a1b08bfc472044b110a7cfb3436853efb808a19f515daac35bdf"
AUGMENTED = {"data.rotation": 15, "data.zoom": 10, "data.shift": 2}


@production_compiler()
def test_golden_augmented_examples_0_to_99(small_config):
    """At positions 1,000..1,099, without shear."""
    source = create_source(small_config(layout(128, 256, 5, 5) | AUGMENTED | {"data.digits": "uci"}), "train")
    arrays = split_arrays("uci", "train", "")
    batch = make(source, arrays, np.arange(100), np.arange(1000, 1100), train=True)
    assert digest(batch) == GOLDEN_AUGMENTED


def test_digit_composition_hash_equals_plain_numpy():
    """This composition is not random, so that numpy alone can compute its hash."""
    arrays = split_arrays("uci", "test", "")
    sha = hashlib.sha256()
    for image, label in zip(arrays["images"][:100], arrays["labels"][:100], strict=True):
        sha.update(image.tobytes() + np.int32(label).tobytes() + np.float32([14, 14, 28, 28]).tobytes())
    assert sha.hexdigest() == GOLDEN["uci", "digit"]


def flat_digits() -> dict[str, np.ndarray]:
    """Ten digits; the image of digit d is filled with d + 1."""
    labels = np.arange(10, dtype=np.int32)
    return {"images": np.broadcast_to((labels + 1).astype(np.uint8)[:, None, None], (10, 28, 28)), "labels": labels}


def textured_digits() -> dict[str, np.ndarray]:
    """Ten digits without black pixels, of which no two have an equal pixel."""
    images = 1 + (np.arange(28 * 28) + 25 * np.arange(10)[:, None]) % 255
    return {"images": images.reshape(10, 28, 28).astype(np.uint8), "labels": np.arange(10, dtype=np.int32)}


@functools.partial(jax.jit, static_argnums=0)
def examples(composition: compositions.Composition, arrays: dict, keys: jax.Array) -> tuple[jax.Array, ...]:
    """Composes example i of key i: images, digits, boxes, and top and left of the first digit from `layout`."""

    def one(index, key):
        image, digits_, boxes = compositions.compose(composition, arrays, index, key, None, Augmentation())
        placed = composition.layout(10, index, key)
        return image, digits_, boxes, placed.top[0], placed.left[0]

    return jax.vmap(one)(jnp.arange(len(keys)), keys)


def draw(composition: compositions.Composition, arrays: dict, count: int) -> tuple[np.ndarray, ...]:
    return jax.device_get(examples(composition, arrays, jax.random.split(jax.random.key(0), count)))


@functools.partial(jax.jit, static_argnums=0)
def places(composition: Canvas, arrays: dict, keys: jax.Array) -> tuple[jax.Array, ...]:
    """Composes digits, and top and left from the boxes, for each key; without images, to allow many examples."""

    def one(key):
        _, digits_, boxes = compositions.compose(composition, arrays, jnp.int32(0), key, None, Augmentation())
        return digits_, boxes[0, 1].astype(int) - 14, boxes[0, 0].astype(int) - 14

    return jax.vmap(one)(keys)


def draw_places(composition: Canvas, count: int) -> tuple[np.ndarray, ...]:
    return jax.device_get(places(composition, flat_digits(), jax.random.split(jax.random.key(1), count)))


@pytest.mark.parametrize("arrays", [flat_digits(), textured_digits()], ids=["flat", "textured"])
@pytest.mark.parametrize("composition", [Canvas(40, 100, 3, 1), Canvas(28, 84, 3, 1), Canvas(31, 60, 2, 2)], ids=str)
def test_canvas_pixels_are_digits_in_boxes_else_black(composition, arrays):
    images, digits_, boxes, tops, lefts = draw(composition, arrays, 50)
    for image, row, box, top, left in zip(images, digits_, boxes, tops, lefts, strict=True):
        length = int((row != NO_DIGIT).sum())
        assert composition.min_length <= length <= composition.max_length
        assert (row[length:] == NO_DIGIT).all(), "no digit after the last one"
        expected = np.zeros((composition.height, composition.width, 1), np.uint8)
        for j in range(length):
            assert box[j].tolist() == [left + 28 * j + 14, top + 14, 28, 28]
            x, y = left + 28 * j, top
            expected[y : y + 28, x : x + 28, 0] = arrays["images"][row[j]]
        assert not box[length:].any()
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("length", [1, 3])
def test_scattered_digits_do_not_overlap_and_run_from_left_to_right(length):
    arrays, composition = textured_digits(), Canvas(60, 90, 3, length, scattered=True)
    images, digits_, boxes, _, _ = draw(composition, arrays, 100)
    for image, row, box in zip(images, digits_, boxes, strict=True):
        count = int((row != NO_DIGIT).sum())
        assert length <= count <= 3
        assert (row[count:] == NO_DIGIT).all(), "no digit after the last one"
        assert not box[count:].any()
        expected = np.zeros((60, 90, 1), np.uint8)
        for digit, (x, y, width, height) in zip(row[:count], box[:count].astype(int), strict=True):
            assert (width, height) == (28, 28)
            part = expected[y - 14 : y + 14, x - 14 : x + 14, 0]
            assert part.shape == (28, 28), "within the canvas"
            assert not part.any(), "no overlap"
            part[:] = arrays["images"][digit]
        np.testing.assert_array_equal(image, expected)
        assert (np.diff(box[:count, 0]) >= 0).all()


def test_scattered_digits_are_anywhere():
    """On 31x58, one digit is at 4 x 31 places; on 28x56, two fit only side by side."""
    _, top, left = draw_places(Canvas(31, 58, 1, 1, scattered=True), 3000)
    assert set(top) == set(range(4))
    assert set(left) == set(range(31))
    assert abs(np.mean(left) - 15) < 1
    crowded = Canvas(28, 56, 2, 2, scattered=True)
    _, _, boxes, tops, lefts = draw(crowded, flat_digits(), 50)
    assert boxes[:, :, 0].tolist() == [[14, 42]] * 50
    assert not tops.any()
    assert not lefts.any()


def test_digit_composition_returns_digit_i_unchanged():
    arrays = textured_digits() | {"labels": np.arange(9, -1, -1, dtype=np.int32)}
    images, digits_, boxes, _, _ = draw(Digit(), arrays, 10)
    np.testing.assert_array_equal(images[..., 0], arrays["images"])
    assert digits_.tolist() == [[9 - i] for i in range(10)]
    assert boxes.tolist() == [[[14, 14, 28, 28]]] * 10


def test_canvas_samples_lengths_digits_and_places_uniformly():
    """On 32x96, top is 0..3, and left is 0..67, 0..39, 0..11 for 1, 2, 3 digits; the last place is never used."""
    digits_, top, left = draw_places(Canvas(32, 96, 3, 1), 3000)
    lengths = (digits_ != NO_DIGIT).sum(1)
    for length, last in ((1, 67), (2, 39), (3, 11)):
        chosen = lengths == length
        assert abs(chosen.sum() - 1000) < 100, "four standard deviations of 26"
        assert set(left[chosen].tolist()) == set(range(last + 1))
        assert np.bincount(top[chosen], minlength=4).min() > 180, "of about 250"
        assert len(np.bincount(top[chosen])) == 4
    counts = np.bincount(digits_[digits_ != NO_DIGIT], minlength=10)
    assert len(counts) == 10
    assert (abs(counts - digits_[digits_ != NO_DIGIT].size / 10) < 100).all(), "of about 600 each"


@pytest.mark.parametrize(
    ("height", "width", "tops", "lefts"),
    [(28, 56, {0}, {0}), (29, 57, {0}, {0}), (30, 58, {0, 1}, {0, 1}), (28, 58, {0}, {0, 1}), (30, 56, {0, 1}, {0})],
)
def test_canvas_without_free_space_is_a_strip(height, width, tops, lefts):
    """Two digits are 28x56, so that a canvas of this size is a strip."""
    _, top, left = draw_places(Canvas(height, width, 2, 2), 100)
    assert (set(top.tolist()), set(left.tolist())) == (tops, lefts)


def test_strip_digits_are_independent():
    digits_, _, _ = draw_places(Canvas(28, 56, 2, 2), 2000)
    pairs = np.bincount(digits_[:, 0] * 10 + digits_[:, 1], minlength=100)
    assert (pairs > 0).all(), "every pair occurs, about 20 times"
    assert pairs.max() < 50


ROTATED = [Rotated(64, 208, 4, 4, 4), Rotated(41, 130, 3, 1, 99), Rotated(208, 64, 4, 4, 99, stacked=True)]


@functools.partial(jax.jit, static_argnums=0)
def render_separately(composition: Rotated, arrays: dict, keys: jax.Array) -> tuple[jax.Array, ...]:
    """Renders for each key the image, one image per digit, the boxes, the valid positions, and the rotations."""

    def one(key):
        placed = composition.layout(10, jnp.int32(0), key)
        tiles = jnp.where(placed.valid[:, None, None], arrays["images"][placed.chosen], 0).astype(jnp.uint8)
        image, boxes = composition.render(tiles, placed)
        only = jnp.eye(len(tiles), dtype=bool)[..., None, None]  # [L, L, 1, 1]
        separate = [
            composition.render(jnp.where(only[i], tiles, 0).astype(jnp.uint8), placed)[0] for i in range(len(tiles))
        ]
        return image, jnp.stack(separate), boxes, placed.valid, placed.degrees

    return jax.vmap(one)(keys)


@functools.cache
def rotated(composition: Rotated) -> tuple[np.ndarray, ...]:
    white = {"images": np.full((10, 28, 28), 255, np.uint8)}
    return jax.device_get(render_separately(composition, white, jax.random.split(jax.random.key(3), 200)))


@pytest.mark.parametrize("composition", ROTATED, ids=str)
def test_rotated_digits_never_touch(composition):
    """With white tiles, no nonzero pixel of a digit is an eight-connected neighbor of one of another digit."""
    image, separate, *_ = rotated(composition)
    nonzero = separate > 0  # [N, L, H, W]
    padded = np.pad(nonzero, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = nonzero.shape[2:]
    dilated = np.stack([padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]).any(0)
    for i in range(nonzero.shape[1]):
        for j in range(nonzero.shape[1]):
            assert i == j or not (dilated[:, i] & nonzero[:, j]).any()
    np.testing.assert_array_equal(image, separate.max(1))


@pytest.mark.parametrize("composition", ROTATED, ids=str)
def test_rotated_box_is_the_extent_of_its_tile(composition):
    _, separate, boxes, valid, degrees = rotated(composition)
    angle = np.deg2rad(np.abs(degrees))
    np.testing.assert_allclose(boxes[..., 2], 28 * (np.cos(angle) + np.sin(angle)), atol=0.01)
    np.testing.assert_array_equal(boxes[..., 2], boxes[..., 3])
    assert valid.any()
    for mask, box in zip(separate[valid] > 100, boxes[valid], strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        for occupied, center, size in ((columns, box[0], box[2]), (rows, box[1], box[3])):
            assert abs(occupied[0] - (center - size / 2)) < 1.5
            assert abs(occupied[-1] + 1 - (center + size / 2)) < 1.5
        assert box[0] - box[2] / 2 >= 0
        assert box[1] - box[3] / 2 >= 0
        assert box[0] + box[2] / 2 <= mask.shape[1]
        assert box[1] + box[3] / 2 <= mask.shape[0]
    assert not separate[~valid].any()


def placed_4(jitter: int) -> compositions.Layout:
    layout_of = jax.jit(jax.vmap(lambda key: Rotated(64, 208, 4, 4, jitter).layout(10, jnp.int32(0), key)))
    return jax.device_get(layout_of(jax.random.split(jax.random.key(4), 20_000)))


def test_rotated_samples_all_angles_and_places():
    """In cells of 52x64 with one free pixel, upright digits have 23 and 36 pixels of slack, the widest 11 and 24."""
    placed = placed_4(99)
    assert set(np.unique(placed.degrees).tolist()) == set(range(-45, 46))
    left = placed.left - 52 * np.arange(4)
    for degrees, along, across in ((0, 23, 36), (45, 11, 24)):
        chosen = np.abs(placed.degrees) == degrees
        assert set(left[chosen].tolist()) == set(range(along + 1))
        assert (placed.top[chosen].min(), placed.top[chosen].max()) == (0, across)


@pytest.mark.parametrize("jitter", [0, 4])
def test_rotated_jitter_bounds_the_shift(jitter):
    placed = placed_4(jitter)
    left = placed.left - 52 * np.arange(4)
    for degrees, along, across in ((0, 11, 18), (45, 5, 12)):
        chosen = np.abs(placed.degrees) == degrees
        assert set(left[chosen].tolist()) == set(range(along - jitter, along + jitter + 1))
        assert set(placed.top[chosen].tolist()) == set(range(across - jitter, across + jitter + 1))


def test_rotated_by_zero_degrees_equals_the_tile():
    composition, tile = Rotated(41, 41, 1, 1, 0), NOISE[None]
    placed = compositions.Layout(*(jnp.array([v]) for v in (0, True, 5, 7, 0)))
    image, boxes = composition.render(jnp.asarray(tile), placed)
    expected = np.zeros((41, 41), np.uint8)
    expected[7:35, 5:33] = NOISE
    np.testing.assert_array_equal(image, expected)
    assert boxes.tolist() == [[19, 21, 28, 28]]


def test_shrink_averages_areas_and_rounds():
    tile = np.array([[0, 4, 10, 20], [8, 12, 30, 43], [1, 1, 255, 255], [1, 0, 255, 255]], np.uint8)
    assert deterministic_ops.shrink(tile, 2).tolist() == [[6, 26], [1, 255]]  # 25.75, 0.75
    # 3 -> 2: each new pixel covers one and a half of the old ones.
    assert deterministic_ops.shrink(np.array([[90, 30, 60]] * 3, np.uint8), 2).tolist() == [[70, 50]] * 2
    assert (np.asarray(deterministic_ops.shrink(np.full((28, 28), 201, np.uint8), 12)) == 201).all()


def test_centered_digits_are_adjacent_in_the_center():
    arrays = flat_digits()
    images, digits_, boxes, _, _ = draw(Centered(64, 64, 5, 1), arrays, 60)
    lengths = (digits_ != NO_DIGIT).sum(1)
    assert set(lengths.tolist()) == {1, 2, 3, 4, 5}
    for image, row, box, length in zip(images[..., 0], digits_, boxes, lengths, strict=True):
        expected = np.zeros((64, 64), np.uint8)
        for j in range(length):
            left = 32 - 6 * length + 12 * j
            expected[26:38, left : left + 12] = row[j] + 1
            assert box[j].tolist() == [left + 6, 32, 12, 12]
        np.testing.assert_array_equal(image, expected)
        assert not box[length:].any()


@pytest.mark.parametrize("digit_set", ["uci", "mnist"])
def test_splits_share_no_digit(small_config, request, digit_set):
    folder = str(request.getfixturevalue("mnist_folder")) if digit_set == "mnist" else ""
    config = small_config({"data.digits": digit_set})
    arrays = {split: split_arrays(digit_set, split, folder) for split in SPLITS}
    known = {split: {image.tobytes() for image in arrays[split]["images"]} for split in SPLITS}
    assert sum(map(len, known.values())) == len(set.union(*known.values())), "the splits' images differ in bytes"
    for split in SPLITS:
        batch = make(create_source(config, split), arrays[split], np.arange(200))
        tiles = set()
        for image, row, boxes in zip(batch.image, batch.digits, batch.boxes, strict=True):
            for left, top in (boxes[row != NO_DIGIT, :2] - 14).astype(int).tolist():
                tiles.add(image[top : top + 28, left : left + 28, 0].tobytes())
        assert len(tiles) > 100
        for other in SPLITS:
            assert len(tiles & known[other]) == (len(tiles) if other == split else 0)


def warped(tile, matrix, shift) -> list:
    tile = np.asarray(tile, np.uint8)
    result = jax.jit(deterministic_ops.warp)(tile, jnp.array(matrix, jnp.int32), jnp.array(shift, jnp.int32))
    assert result.dtype == jnp.uint8
    return np.asarray(result)


IDENTITY = ((ONE, 0), (0, ONE))
NOISE = np.random.default_rng(0).integers(1, 256, (28, 28)).astype(np.uint8)


def test_warp_identity_returns_the_tile():
    np.testing.assert_array_equal(warped(NOISE, IDENTITY, (0, 0)), NOISE)


@pytest.mark.parametrize(("x", "y"), [(1, 0), (-1, 0), (0, 1), (0, -1), (3, -5), (27, 0), (28, 0), (-40, 2)])
def test_warp_shift_by_whole_pixels_pads_with_black(x, y):
    """result[r, c] = tile[r + y, c + x]: a shift of +1 in x moves the digit to the left by one pixel."""
    expected = np.zeros_like(NOISE)
    for r in range(28):
        for c in range(28):
            if 0 <= r + y < 28 and 0 <= c + x < 28:
                expected[r, c] = NOISE[r + y, c + x]
    np.testing.assert_array_equal(warped(NOISE, IDENTITY, (x * ONE, y * ONE)), expected)


def test_warp_by_right_angles():
    np.testing.assert_array_equal(warped(NOISE, ((0, -ONE), (ONE, 0)), (0, 0)), np.rot90(NOISE))
    np.testing.assert_array_equal(warped(NOISE, ((0, ONE), (-ONE, 0)), (0, 0)), np.rot90(NOISE, -1))
    np.testing.assert_array_equal(warped(NOISE, ((-ONE, 0), (0, -ONE)), (0, 0)), np.rot90(NOISE, 2))


def test_warp_shift_by_fractions_interpolates():
    tile = [[0, 100], [200, 41]]
    # Half a pixel to the right: the mean of neighbors, halves up; black beyond the edge.
    assert warped(tile, IDENTITY, (ONE // 2, 0)).tolist() == [[50, 50], [121, 21]]  # 120.5, 20.5
    assert warped(tile, IDENTITY, (0, ONE // 2)).tolist() == [[100, 71], [100, 21]]  # 70.5
    # Both: of (0 + 100 + 200 + 41) / 4, (100 + 41) / 4, (200 + 41) / 4, 41 / 4.
    assert warped(tile, IDENTITY, (ONE // 2, ONE // 2)).tolist() == [[85, 35], [60, 10]]
    # A quarter: weights of 3/4 and 1/4.
    assert warped(tile, IDENTITY, (ONE // 4, 0)).tolist() == [[25, 75], [160, 31]]  # 160.25, 30.75
    assert warped(tile, IDENTITY, (-ONE // 4, 0)).tolist() == [[0, 75], [150, 81]]  # 80.75


def test_warp_by_twice_the_identity_halves_the_size():
    """Pixel i of 4 is sampled at 2 (i - 1.5) + 1.5 = -1.5, 0.5, 2.5, 4.5: the mean of each quarter, in a black border."""
    tile = [[4, 8, 40, 80], [12, 16, 120, 160], [1, 2, 250, 254], [3, 6, 252, 248]]
    expected = [[0, 0, 0, 0], [0, 10, 100, 0], [0, 3, 251, 0], [0, 0, 0, 0]]
    assert warped(tile, ((2 * ONE, 0), (0, 2 * ONE)), (0, 0)).tolist() == expected


def test_warp_matrix_rows_are_x_and_y():
    """With shear in x, row y is sampled at x + y, y = -1.5 to 1.5: the first row 1.5 pixels to the left."""
    tile = np.zeros((4, 4), np.uint8)
    tile[:, 2] = 200
    sheared = warped(tile, ((ONE, ONE), (0, ONE)), (0, 0))
    assert sheared.tolist() == [[0, 0, 0, 100], [0, 0, 100, 100], [0, 100, 100, 0], [100, 100, 0, 0]]


def rectangle(x: slice, y: slice) -> np.ndarray:
    tile = np.zeros((28, 28), np.uint8)
    tile[y, x] = 255
    return tile


def moments(tile: np.ndarray) -> tuple[float, float, float, float, float]:
    """Returns the moments of x, y, x², xy, y² about the center of the tile, weighted by pixel values."""
    weights = tile / tile.sum()
    y, x = np.mgrid[:28, :28] - 13.5
    return tuple(float((weights * value).sum()) for value in (x, y, x * x, x * y, y * y))


def angle(tile: np.ndarray) -> float:
    """Returns the angle in degrees between the principal axis and the x axis."""
    _, _, xx, xy, yy = moments(tile)
    return float(np.rad2deg(np.arctan2(2 * xy, xx - yy)) / 2)


def slope(tile: np.ndarray) -> float:
    _, _, _, xy, yy = moments(tile)
    return 100 * xy / yy


def sampling_step(tile: np.ndarray) -> float:
    """Returns by how many percent the sampling step exceeds one pixel, from the area of a square of 10x10."""
    return 100 / np.sqrt(tile.sum() / (255 * 100)) - 100


@pytest.mark.parametrize(
    ("augmentation", "tile", "measure", "limit", "off"),
    [
        (Augmentation(rotation=20), rectangle(slice(4, 24), slice(13, 15)), angle, 20, 1),
        (Augmentation(zoom=25), rectangle(slice(9, 19), slice(9, 19)), sampling_step, 25, 1),
        (Augmentation(shear=30), rectangle(slice(13, 15), slice(4, 24)), slope, 30, 1),
        (Augmentation(shift=3), rectangle(slice(12, 16), slice(12, 16)), lambda t: moments(t)[0], 3, 0.05),
        (Augmentation(shift=3), rectangle(slice(12, 16), slice(12, 16)), lambda t: moments(t)[1], 3, 0.05),
    ],
    ids=["rotation", "zoom", "shear", "shift in x", "shift in y"],
)
def test_warp_digits_covers_exactly_its_range(augmentation, tile, measure, limit, off):
    warped_tiles = jax.jit(compositions.warp_digits, static_argnums=2)(np.stack([tile] * 400), KEY, augmentation)
    amounts = np.array([measure(each) for each in np.asarray(warped_tiles)])
    assert (abs(amounts) < limit + off).all()
    assert amounts.min() < -0.93 * limit
    assert amounts.max() > 0.93 * limit
    assert abs(amounts.mean()) < 0.15 * limit, "five standard deviations of limit / sqrt(3 * 400)"
    assert abs(amounts.std() / (limit / np.sqrt(3)) - 1) < 0.15, "uniform distribution"


def test_warp_digits_elastic_is_smooth_and_bounded():
    # Nine gray levels per pixel, so that a value reveals the x coordinate that was sampled.
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8) * 9, (28, 28))
    warped_tiles = jax.jit(compositions.warp_digits, static_argnums=2)(
        np.stack([ramp] * 200), KEY, Augmentation(elastic=150)
    )
    moved = (np.asarray(warped_tiles).astype(float) - ramp)[:, 4:24, 4:24] / 9  # pixels in x, without the black border
    assert abs(moved).max() < 1.5 + 0.1
    assert abs(moved).max() > 1.2
    assert abs(np.diff(moved, axis=1)).max() < 2 * 1.5 / 9 + 0.15, "points are nine pixels apart; rounding is 1/9"
    assert len({each.tobytes() for each in np.asarray(warped_tiles)}) == 200


def test_warp_digits_warps_each_tile_independently():
    warped_tiles = jax.jit(compositions.warp_digits, static_argnums=2)(
        np.stack([NOISE] * 4), KEY, Augmentation(rotation=20)
    )
    assert len({each.tobytes() for each in np.asarray(warped_tiles)}) == 4


@pytest.fixture(scope="module")
def augmented(small_config) -> tuple[DataSource, dict[str, np.ndarray]]:
    config = small_config(AUGMENTED | {"data.shear": 10})
    return create_source(config, "train"), split_arrays("uci", "train", "")


def test_augmentation_is_off_unless_training(small_config, augmented):
    source, arrays = augmented
    plain = make(create_source(small_config(), "train"), arrays, np.arange(4))
    same = make(source, arrays, np.arange(4))
    jax.tree.map(np.testing.assert_array_equal, same, plain)
    warped_batch = make(source, arrays, np.arange(4), train=True)
    assert all((warped_batch.image[i] != plain.image[i]).any() for i in range(4))


def test_training_without_augmentation_changes_nothing(small_config):
    source, arrays = create_source(small_config(), "train"), split_arrays("uci", "train", "")
    for train in (False, True):
        batch = make(source, arrays, np.arange(4), np.arange(100, 104), train=train)
        jax.tree.map(np.testing.assert_array_equal, batch, make(source, arrays, np.arange(4)))


def test_augmentation_changes_pixels_inside_boxes_only(augmented):
    source, arrays = augmented
    plain, warped_batch = make(source, arrays, np.arange(4)), make(source, arrays, np.arange(4), train=True)
    for part in ("digits", "boxes", "index"):
        np.testing.assert_array_equal(getattr(warped_batch, part), getattr(plain, part))
    for image, boxes in zip(warped_batch.image.copy(), warped_batch.boxes, strict=True):
        for x, y in boxes[boxes[:, 2] > 0, :2].astype(int):
            assert image[y - 14 : y + 14, x - 14 : x + 14].any()
            image[y - 14 : y + 14, x - 14 : x + 14] = 0
        assert not image.any()


def test_augmentation_does_not_depend_on_the_batch(augmented):
    source, arrays = augmented
    batch = make(source, arrays, [5, 6, 7, 8], [100, 101, 102, 103], train=True)
    alone = make(source, arrays, [6], [101], train=True)
    elsewhere = make(source, arrays, [9, -1, 3, 6], [7, 8, 9, 101], train=True)
    np.testing.assert_array_equal(alone.image[0], batch.image[1])
    np.testing.assert_array_equal(elsewhere.image[3], batch.image[1])


def test_augmentation_depends_on_position_and_key(augmented):
    source, arrays = augmented
    batch = make(source, arrays, [6, 6, 0, 1], [101, 301, 0, 1], train=True)
    np.testing.assert_array_equal(batch.digits[0], batch.digits[1])
    np.testing.assert_array_equal(batch.boxes[0], batch.boxes[1])
    assert (batch.image[0] != batch.image[1]).any()
    other = make(source, arrays, [6, 6, 0, 1], [101, 301, 0, 1], train=True, key=jax.random.key(8))
    assert (other.image[0] != batch.image[0]).any()
    assert (other.image[1] != batch.image[1]).any()


@pytest.mark.slow
def test_compiled_and_eager_pixels_are_equal(augmented):
    source, arrays = augmented
    host_batch = {"index": np.arange(3, 7, dtype=np.int32), "position": np.arange(103, 107, dtype=np.int32)}
    compiled = make(source, arrays, host_batch["index"], host_batch["position"], train=True)
    eager = source.make(jax.device_put(arrays), host_batch, KEY, True)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(eager), compiled)
