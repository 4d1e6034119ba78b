"""Augmentation of photographs in training: a random affine warp of image and boxes, and color jitter, inside the step.

It is resampled at every visit. Pixels are computed in integer arithmetic, as in data/synthetic/compositions.py, so that
they are bit-exact across devices.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.data.scenes import natural_backgrounds
from seqdigits.data.scenes.draws import Draws, hash_noise
from seqdigits.data.synthetic.deterministic_ops import COS, ONE, SIN, bilinear


@dataclass(frozen=True)
class Augmentation:
    """The ranges of augmentation; all zero = no augmentation.

    Attributes:
      rotation: degrees in either direction, at most 45.
      zoom: percent. The scale factor is between 1 / (1 + zoom) and 1 + zoom. Each axis is also scaled independently, by
        up to a third of this value.
      shear: percent in either direction.
      shift: pixels in either direction along each axis.
      color: percent, at most 60, of contrast, of brightness (as a share of half the range) and of the gain of each
        channel. If nonzero, one of four photographs is also inverted, and noise is added.
      pasted: percent of the photographs whose number is cut out, and pasted into a natural background at 45% to 100% of the
        size it would have (copy-paste, Ghiasi et al. 2021, arXiv:2012.07177).
    """

    rotation: int = 0
    zoom: int = 0
    shear: int = 0
    shift: int = 0
    color: int = 0
    pasted: int = 0

    @property
    def on(self) -> bool:
        """Returns whether any range is nonzero."""
        return any(dataclasses.astuple(self))


KEYS = tuple(field.name for field in dataclasses.fields(Augmentation))
"""Keys of the config's section `data` that set the augmentation of photographs."""


MAX_SIDE = 3_900
"""Maximum side of an image that is warped, in pixels: up to it, integers of 32 bits hold every product of the largest ranges."""
PASTED_SCALE = 2.2
"""A pasted number is smaller by at most this factor."""
MARGIN = (40, 200)
"""Range of the margin around the number that is pasted, on each side, in percent of the height of its digits."""
FEATHER = 30
"""Width of the feathered edges of what is pasted, in percent of the height of the digits."""


def augment(
    image: Array,
    digits: Array,
    boxes: Array,
    key: Array,
    augmentation: Augmentation,
    backgrounds: Array | None = None,
) -> tuple[Array, Array]:
    """Augments one photograph and its boxes.

    Where possible, the number stays completely inside the image: the shift is clipped, and the scale is limited. A
    photograph without boxes stays inside as a whole: it is never enlarged, and shifted only where it was made smaller. Pixels beyond the edge of the photograph repeat the edge.

    Args:
      image: u8 [H, W, C].
      digits: i32 [L].
      boxes: f32 [L, 4] cxcywh, in pixels; all zero = unknown. Boxes of NO_DIGIT that are not zero are warped too, but
        decide nothing.
      key: random key.
      augmentation: the ranges of augmentation.
      backgrounds: of natural_backgrounds.pack, with augmentation.pasted, which needs boxes; else None.

    Returns:
      The augmented image u8 [H, W, C] and boxes f32 [L, 4].
    """
    draws = Draws(key)
    height, width = image.shape[:2]
    valid = digits != NO_DIGIT
    enclosing_box = bx.enclosing_box(boxes, valid)
    whole = jnp.array([width / 2, height / 2, width, height])
    enclosing_box = jnp.where(enclosing_box[2] > 0, enclosing_box, whole)
    is_pasted, shrink = jnp.bool_(False), jnp.int32(ONE)
    if augmentation.pasted:
        is_pasted = draws.chance(augmentation.pasted)
        shrink = jnp.where(is_pasted, draws.between(ONE, int(ONE * PASTED_SCALE)), ONE)
    matrix, size = _matrix(draws, augmentation, enclosing_box, (height, width), shrink)
    slack = jnp.maximum(jnp.array([width, height]) - size, 0.0) / 2
    middle = jnp.array([width, height]) / 2
    shift = draws.between(-augmentation.shift * ONE, augmentation.shift * ONE, 2).astype(jnp.float32)
    place = jnp.clip(enclosing_box[:2] + shift / ONE, middle - slack, middle + slack)
    fixed = jnp.round(jnp.stack([enclosing_box[:2], place]) * ONE).astype(jnp.int32)
    window = None
    if augmentation.pasted:
        digit_height = jnp.where(valid, boxes[:, 3], 0).sum() / jnp.maximum(valid.sum(), 1)
        window = _window(draws, enclosing_box, digit_height, (height, width))
    image, cover = _sample(image, matrix, fixed[0], fixed[1], window)
    if augmentation.pasted:
        assert backgrounds is not None
        assert cover is not None
        background = jnp.moveaxis(natural_backgrounds.cut(draws, backgrounds, height, width), 0, -1)
        if image.shape[-1] == 1:
            background = (background * jnp.array([77, 150, 29])).sum(-1, keepdims=True) >> 8
        mixed = background + (((image.astype(jnp.int32) - background) * cover[..., None]) >> 8)
        image = jnp.where(is_pasted, mixed, image).astype(jnp.uint8)
    if augmentation.color:
        image = _color(draws, image, augmentation.color)
    inverse = _inverse(matrix)
    center = _exact(boxes[:, :2] - fixed[0] / ONE, inverse.T) + fixed[1] / ONE
    sides = _exact(boxes[:, 2:], jnp.abs(inverse).T)  # of the box that encloses the warped corners
    return image, jnp.where(boxes[:, 2:3] > 0, jnp.concatenate([center, sides], axis=-1), 0.0)


def _matrix(
    draws: Draws, augmentation: Augmentation, enclosing_box: Array, size: tuple[int, int], shrink: Array
) -> tuple[Array, Array]:
    """Samples the affine map from output to source coordinates; `shrink` i32 [] makes the photograph smaller, fixed point.

    Returns:
      The matrix i32 [2, 2], fixed point, rows x and y; and the size of the warped number, f32 [2], width and height in
      pixels.
    """
    degrees = draws.between(-augmentation.rotation, augmentation.rotation)
    cos, sin = jnp.asarray(COS)[degrees + 45], jnp.asarray(SIN)[degrees + 45]
    low, high = ONE * 100 // (100 + augmentation.zoom), ONE * (100 + augmentation.zoom) // 100
    per_axis = augmentation.zoom * ONE // 300
    scale = (draws.between(low, high) * (ONE + draws.between(-per_axis, per_axis, 2))) >> 12  # [2]
    scale = (scale * shrink) >> 12
    sides = jnp.ceil(enclosing_box[2:]).astype(jnp.int32)
    minimum = sides * ONE // jnp.array([size[1], size[0]])
    scale = jnp.maximum(scale, jnp.minimum(minimum, ONE))  # a number as large as the image is not enlarged
    shear = draws.between(-augmentation.shear, augmentation.shear) * ONE // 100
    x, y = scale[0], scale[1]
    matrix = jnp.stack(
        [
            jnp.stack([(x * cos) >> 12, (((y * sin) >> 12) + ((shear * cos) >> 12))]),
            jnp.stack([-((x * sin) >> 12), (y * cos) >> 12]),
        ]
    )
    return matrix, _exact(jnp.abs(_inverse(matrix)), enclosing_box[2:])


def _inverse(matrix: Array) -> Array:
    """Inverts a matrix i32 [2, 2] in fixed point into f32 [2, 2]."""
    (a, b), (c, d) = matrix.astype(jnp.float32) / ONE
    return jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)


def _exact(a: Array, b: Array) -> Array:
    """Returns the matrix product in full float32.

    By default, accelerators round the factors, which is too coarse for coordinates of up to 8192 pixels.
    """
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _window(draws: Draws, enclosing_box: Array, digit_height: Array, size: tuple[int, int]) -> Array:
    """Draws the part of a photograph that is pasted.

    Returns:
      left, top, right, bottom and the width of the feathered edges, i32 [5], 1/16 pixels of the photograph.
    """
    margin = draws.between(*MARGIN, 4) * digit_height / 100
    low, high = enclosing_box[:2] - enclosing_box[2:] / 2, enclosing_box[:2] + enclosing_box[2:] / 2
    limit = jnp.array([size[1], size[0]])
    low, high = jnp.maximum(low - margin[:2], 0), jnp.minimum(high + margin[2:], limit)
    feather = jnp.maximum(digit_height * FEATHER / 100, 1)
    return jnp.round(jnp.concatenate([low, high, feather[None]]) * 16).astype(jnp.int32)


def _sample(
    image: Array, matrix: Array, source: Array, target: Array, window: Array | None
) -> tuple[Array, Array | None]:
    """Warps an image u8 [H, W, C] with bilinear sampling, repeating the edge.

    An output pixel at `target` + p has the value of the image at `source` + matrix p. Both points are i32 [2], x and y,
    in pixels, fixed point.

    Returns:
      The warped image u8 [H, W, C], and how much of each pixel is within the window of `_window`, i32 [H, W], 0..256.
    """
    height, width, channels = image.shape
    # Distances in 1/16 pixels, so that products stay below 2^31 on images of up to MAX_SIDE.
    x = (jnp.arange(width)[None, :] * 16 + 8) - (target[0] >> 8)
    y = (jnp.arange(height)[:, None] * 16 + 8) - (target[1] >> 8)
    at_x = ((matrix[0, 0] * x + matrix[0, 1] * y) >> 4) + source[0] - ONE // 2
    at_y = ((matrix[1, 0] * x + matrix[1, 1] * y) >> 4) + source[1] - ONE // 2
    flat = image.reshape(-1, channels).astype(jnp.int32)

    def at(r: Array, c: Array) -> Array:
        return flat[jnp.clip(r, 0, height - 1) * width + jnp.clip(c, 0, width - 1)]

    if window is None:
        return bilinear(at, at_x, at_y), None
    x, y = at_x >> 8, at_y >> 8
    inside = jnp.minimum(jnp.minimum(x - window[0], window[2] - x), jnp.minimum(y - window[1], window[3] - y))
    return bilinear(at, at_x, at_y), jnp.clip(inside * 256 // window[4], 0, 256)


def _color(draws: Draws, image: Array, percent: int) -> Array:
    """Changes contrast, brightness and channel gains, inverts at random, and adds noise: u8 [H, W, C]."""
    height, width, channels = image.shape
    contrast = 256 + draws.between(-percent, percent) * 256 // 100
    channel_contrast = draws.between(-percent // 2, percent // 2, channels) * 256 // 100
    brightness = draws.between(-percent, percent) * 128 // 100
    x = image.astype(jnp.int32)
    x = jnp.where(draws.chance(25), 255 - x, x)
    x = (((x - 128) * (contrast + channel_contrast)) >> 8) + 128 + brightness
    amplitude = draws.between(0, percent) * 32 // 100
    noise = (hash_noise(draws.bits(), height, width) & 255).astype(jnp.int32) - 128
    return jnp.clip(x + ((noise[..., None] * amplitude) >> 7), 0, 255).astype(jnp.uint8)


def augment_all(
    image: Array,
    digits: Array,
    boxes: Array,
    position: Array,
    key: Array,
    augmentation: Augmentation,
    backgrounds: Array | None = None,
) -> tuple[Array, Array]:
    """Augments a batch: image u8 [B, H, W, C], digits i32 [B, L] and boxes f32 [B, L, 4].

    The key of each example is `key` folded with its position i32 [B]. Returns the augmented images and boxes. `backgrounds`:
    see `augment`.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, position)

    def one(image: Array, digits: Array, boxes: Array, key: Array) -> tuple[Array, Array]:
        return augment(image, digits, boxes, key, augmentation, backgrounds)

    return jax.vmap(one)(image, digits, boxes, keys)
