"""Augmentation of photographs: boxes follow the pixels, and ranges are respected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core.constants import NO_DIGIT
from seqdigits.data.create import create_source
from seqdigits.data.photos.augment import Augmentation, augment, augment_all
from seqdigits.data.scenes import natural_backgrounds

HEIGHT, WIDTH = 48, 96
BOXES = np.array([[40, 22, 12, 20], [54, 24, 10, 20], [0, 0, 0, 0]], np.float32)
DIGITS = np.array([4, 7, NO_DIGIT], np.int32)


def photograph() -> np.ndarray:
    """Returns a gray photograph with each digit's box filled with its own shade."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for (x, y, w, h), shade in zip(BOXES[:2], (150, 220), strict=True):
        image[int(y - h / 2) : int(y + h / 2), int(x - w / 2) : int(x + w / 2)] = shade
    return image


def many(
    augmentation: Augmentation, count: int = 200, backgrounds: jnp.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    def repeat(x: np.ndarray) -> jnp.ndarray:
        return jnp.broadcast_to(x, (count, *x.shape))

    batch = (repeat(photograph()), repeat(DIGITS), repeat(BOXES), jnp.arange(count))
    changed = jax.jit(augment_all, static_argnums=5)(*batch, jax.random.key(0), augmentation, backgrounds)
    return tuple(np.asarray(x) for x in changed)


def test_augment_with_zero_ranges_changes_nothing():
    image, boxes = augment(photograph(), DIGITS, BOXES, jax.random.key(0), Augmentation())
    np.testing.assert_array_equal(image, photograph())
    np.testing.assert_allclose(boxes, BOXES, atol=1e-3)
    assert not Augmentation().on


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(zoom=90), Augmentation(shift=20), Augmentation(shear=15), Augmentation(rotation=5)],
    ids=["zoom", "shift", "shear", "rotation"],
)
def test_without_boxes_the_whole_photograph_stays_inside(augmentation):
    corners = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for row in (slice(0, 6), slice(-6, None)):
        for column in (slice(0, 6), slice(-6, None)):
            corners[row, column] = 250
    key_of = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(50))

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return augment(jnp.asarray(corners), jnp.asarray(DIGITS), jnp.zeros(BOXES.shape), key, augmentation)

    images, boxes = jax.jit(jax.vmap(one))(key_of)
    assert not np.asarray(boxes).any(), "an unknown box stays unknown"
    for image in np.asarray(images)[..., 0]:
        halves = (
            (slice(None, HEIGHT // 2), slice(HEIGHT // 2, None)),
            (slice(None, WIDTH // 2), slice(WIDTH // 2, None)),
        )
        assert all(image[row, column].max() > 200 for row in halves[0] for column in halves[1])


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(zoom=90), Augmentation(shift=20), Augmentation(shear=15), Augmentation(rotation=15)],
    ids=["zoom", "shift", "shear", "rotation"],
)
def test_augment_moves_boxes_with_pixels(augmentation):
    images, boxes = many(augmentation)
    assert len({image.tobytes() for image in images}) > 25, "whole degrees and percent"
    for image, (first, second, no_digit) in zip(images, boxes, strict=True):
        assert not no_digit.any()
        for (x, y, _, _), low, high in ((first, 120, 185), (second, 185, 256)):
            column, row = int(x), int(y)
            assert 0 <= column < WIDTH
            assert 0 <= row < HEIGHT
            assert low <= image[row, column, 0] < high, "the center of the box has the digit's shade"
        rows, columns = np.nonzero(image[..., 0] > 185)
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        box = np.concatenate([second[:2] - second[2:] / 2, second[:2] + second[2:] / 2])
        # The tolerance is for pixels at slanted edges, which are fainter.
        np.testing.assert_allclose(extent, np.clip(box, 0, [WIDTH, HEIGHT] * 2), atol=2.6)


def test_box_without_a_digit_moves_with_the_pixels_and_decides_nothing():
    unlabeled = BOXES[1]
    moves = Augmentation(rotation=15, zoom=40, shift=9)
    keys = jax.random.key(3)
    for place in (unlabeled, np.array([84, 24, 10, 20], np.float32)):
        digits, boxes = np.array([4, 7, NO_DIGIT, NO_DIGIT]), np.stack([*BOXES, place])
        image, moved = augment(photograph(), digits, boxes, keys, moves)
        expected, alone = augment(photograph(), DIGITS, BOXES, keys, moves)
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(moved[:3], alone)
        assert np.allclose(moved[3], moved[1]) == (place is unlabeled)
        assert moved[3].any()


def test_zoom_scales_but_keeps_the_number_inside():
    _, boxes = many(Augmentation(zoom=90), 400)
    heights = boxes[:, 0, 3]
    assert heights.min() < 0.62 * 20
    assert heights.max() > 1.4 * 20
    corners = np.concatenate(
        [boxes[:, :2, :2] - boxes[:, :2, 2:] / 2, boxes[:, :2, :2] + boxes[:, :2, 2:] / 2], axis=-1
    )
    assert corners[..., :2].min() > -1
    assert corners[..., 2].max() < WIDTH + 1
    assert corners[..., 3].max() < HEIGHT + 1


def test_shift_covers_its_range():
    _, boxes = many(Augmentation(shift=9), 400)
    moved = boxes[:, 0, :2] - BOXES[0, :2]
    assert -9 <= moved.min() < -8.8
    assert 8.8 < moved.max() <= 9


def test_color_jitters_brightness_and_inverts_one_of_four():
    images, boxes = many(Augmentation(color=30), 400)
    np.testing.assert_allclose(boxes, np.broadcast_to(BOXES, boxes.shape), atol=1e-3)
    digit, background = images[:, 24, 54].astype(float).mean(-1), images[:, 5, 5].astype(float).mean(-1)
    assert 0.18 < (digit < background).mean() < 0.33
    assert background.std() > 15


def test_augmentation_is_off_in_evaluation_and_padding(small_config):
    config = small_config(
        {
            "data.digits": "mnist",
            "data.composition": "crop",
            "data.photographs": "svhn_2000",
            "data.rotation": 10,
            "data.color": 20,
            "data.max_length": 5,
            "data.width": 32,
        }
    )
    make = jax.jit(create_source(config, "train").make, static_argnames="train")
    arrays = {
        "images": np.stack([np.resize(photograph(), (32, 32, 3)) + np.uint8(5 * i) for i in range(6)]),
        "digits": np.full((6, 5), NO_DIGIT, np.int32),
        "boxes": np.zeros((6, 5, 4), np.float32),
    }
    arrays["digits"][:, 0], arrays["boxes"][:, 0] = 4, [16, 16, 8, 12]
    host_batch = {"index": jnp.array([0, 5, -1]), "position": jnp.array([0, 1, 2])}
    same = make(arrays, host_batch, jax.random.key(0), train=False)
    np.testing.assert_array_equal(same.image[1], arrays["images"][5])
    changed = make(arrays, host_batch, jax.random.key(0), train=True)
    assert (changed.image[1] != arrays["images"][5]).any()
    example = make(arrays, {**host_batch, "index": jnp.array([0, 5, 0])}, jax.random.key(0), train=True)
    np.testing.assert_array_equal(changed.image[2], example.image[2], "a padded row is example 0")


def test_pasted_numbers_are_smaller_in_natural_backgrounds():
    red = jnp.asarray(natural_backgrounds.pack([np.full((60, 80, 3), [250, 0, 0], np.uint8)], HEIGHT, WIDTH))
    images, boxes = many(Augmentation(pasted=60), backgrounds=red)
    is_pasted = (images[..., 0] > images[..., 1].astype(int) + 20).any((1, 2))
    assert 0.45 < is_pasted.mean() < 0.75
    heights = boxes[:, 0, 3]
    assert np.isclose(heights[~is_pasted], 20, atol=0.1).all(), "the others are as they were"
    assert 20 / 2.3 < heights[is_pasted].min() < 12
    assert heights[is_pasted].max() <= 20.1
    for image, (first, second, _) in zip(images[is_pasted], boxes[is_pasted], strict=True):
        for (x, y, w, h), shade in ((first, 150), (second, 220)):
            inside = image[int(y - h / 4) : int(y + h / 4) + 1, int(x - w / 4) : int(x + w / 4) + 1]
            assert np.abs(inside.astype(int) - shade).max() < 40, "nothing of the background is in a digit"


def test_pasted_number_keeps_its_margin_and_has_soft_edges():
    red = jnp.asarray(natural_backgrounds.pack([np.full((60, 80, 3), [250, 0, 0], np.uint8)], HEIGHT, WIDTH))
    images, _ = many(Augmentation(pasted=100), 20, red)
    redness = images[..., 0].astype(int) - images[..., 1]
    assert ((redness == 0).any((1, 2))).all(), "the photograph is seen"
    soft = (redness > 5) & (redness < redness.max((1, 2), keepdims=True) - 30)
    assert (soft.sum((1, 2)) > 10).all()
