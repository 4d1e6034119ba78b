"""Photographs bent and colored anew each time they are trained on: image and boxes together, inside the step.

Integer arithmetic for the pixels, as in data/synthetic/compositions.py, so that they are the same on every device.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.data.scenes.draws import Draws, hash_noise
from seqdigits.data.synthetic.deterministic_ops import COS, ONE, SIN, bilinear


@dataclass(frozen=True)
class Augmentation:
    """How far a photograph is changed in training; all zero = not at all.

    Attributes:
      rotation: degrees, at most 45, either way.
      zoom: percent; the number is from 1 + this times smaller to as many times larger, and besides each axis on its own by up
        to a third of it.
      shear: percent, either way.
      shift: pixels, either way, each axis.
      color: percent, at most 60, of contrast, brightness (of half the range) and each channel; and then one of four is turned into its
        negative, and noise is added.
    """

    rotation: int = 0
    zoom: int = 0
    shear: int = 0
    shift: int = 0
    color: int = 0

    @property
    def on(self) -> bool:
        return any(dataclasses.astuple(self))


KEYS = tuple(field.name for field in dataclasses.fields(Augmentation))
"""Keys of the config's section `data` that it is made of."""


def augment(image: Array, digits: Array, boxes: Array, key: Array, augmentation: Augmentation) -> tuple[Array, Array]:
    """One photograph: image u8 [H, W, C], boxes f32 [L, 4] -> the same, changed.

    The number stays in the picture as a whole where it can: it is moved back, and what would make it too large is taken
    back. What lies beyond the photograph's edge repeats the edge.

    Args:
      image, digits i32 [L], boxes: as in Batch, of one row.
      key: of what is drawn.
      augmentation: how far.
    """
    draws = Draws(key)
    height, width = image.shape[:2]
    there = digits != NO_DIGIT
    enclosing_box = bx.enclosing_box(boxes, there)
    matrix, size = _matrix(draws, augmentation, enclosing_box, (height, width))
    room = jnp.maximum(jnp.array([width, height]) - size, 0.0) / 2
    middle = jnp.array([width, height]) / 2
    drawn = draws.between(-augmentation.shift * ONE, augmentation.shift * ONE, 2).astype(jnp.float32)
    place = jnp.clip(enclosing_box[:2] + drawn / ONE, middle - room, middle + room)
    fixed = jnp.round(jnp.stack([enclosing_box[:2], place]) * ONE).astype(jnp.int32)
    image = _sample(image, matrix, fixed[0], fixed[1])
    if augmentation.color:
        image = _color(draws, image, augmentation.color)
    inverse = _inverse(matrix)
    center = _exact(boxes[:, :2] - fixed[0] / ONE, inverse.T) + fixed[1] / ONE
    sides = _exact(boxes[:, 2:], jnp.abs(inverse).T)  # of the hull of the turned corners
    return image, jnp.where(there[:, None], jnp.concatenate([center, sides], axis=-1), 0.0)


def _matrix(
    draws: Draws, augmentation: Augmentation, enclosing_box: Array, size: tuple[int, int]
) -> tuple[Array, Array]:
    """From a place in the result to a place in the photograph, i32 [2, 2] fixed point, rows x and y; and how large the number
    becomes, f32 [2] width and height in pixels."""
    degrees = draws.between(-augmentation.rotation, augmentation.rotation)
    cos, sin = jnp.asarray(COS)[degrees + 45], jnp.asarray(SIN)[degrees + 45]
    low, high = ONE * 100 // (100 + augmentation.zoom), ONE * (100 + augmentation.zoom) // 100
    own = augmentation.zoom * ONE // 300
    scale = (draws.between(low, high) * (ONE + draws.between(-own, own, 2))) >> 12  # [2]
    sides = jnp.ceil(enclosing_box[2:]).astype(jnp.int32)
    least = sides * ONE // jnp.array([size[1], size[0]])
    scale = jnp.maximum(scale, jnp.minimum(least, ONE))  # what is as large as the picture is not made larger
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
    """i32 [2, 2] fixed point -> f32 [2, 2]."""
    (a, b), (c, d) = matrix.astype(jnp.float32) / ONE
    return jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)


def _exact(a: Array, b: Array) -> Array:
    """The product in f32: accelerators round what they multiply, by default, and places of up to 8192 pixels with it."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _sample(image: Array, matrix: Array, source: Array, target: Array) -> Array:
    """Reads u8 [H, W, C] at `matrix` times the distance from `target`, plus `source`; bilinear, the edge repeated.

    `source`, `target`: i32 [2], x and y, fixed point, pixels.
    """
    height, width, channels = image.shape
    # Distances in 1/16 pixels, so that products stay below 2^31 on images of up to 8192.
    x = (jnp.arange(width)[None, :] * 16 + 8) - (target[0] >> 8)
    y = (jnp.arange(height)[:, None] * 16 + 8) - (target[1] >> 8)
    at_x = ((matrix[0, 0] * x + matrix[0, 1] * y) >> 4) + source[0] - ONE // 2
    at_y = ((matrix[1, 0] * x + matrix[1, 1] * y) >> 4) + source[1] - ONE // 2
    flat = image.reshape(-1, channels).astype(jnp.int32)

    def at(r: Array, c: Array) -> Array:
        return flat[jnp.clip(r, 0, height - 1) * width + jnp.clip(c, 0, width - 1)]

    return bilinear(at, at_x, at_y)


def _color(draws: Draws, image: Array, percent: int) -> Array:
    """Contrast, brightness, channels, the negative, noise: u8 [H, W, C] -> u8 [H, W, C]."""
    height, width, channels = image.shape
    contrast = 256 + draws.between(-percent, percent) * 256 // 100
    own = draws.between(-percent // 2, percent // 2, channels) * 256 // 100
    brightness = draws.between(-percent, percent) * 128 // 100
    x = image.astype(jnp.int32)
    x = jnp.where(draws.chance(25), 255 - x, x)
    x = (((x - 128) * (contrast + own)) >> 8) + 128 + brightness
    amplitude = draws.between(0, percent) * 32 // 100
    grain = (hash_noise(draws.bits(), height, width) & 255).astype(jnp.int32) - 128
    return jnp.clip(x + ((grain[..., None] * amplitude) >> 7), 0, 255).astype(jnp.uint8)


def augment_all(
    image: Array, digits: Array, boxes: Array, position: Array, key: Array, augmentation: Augmentation
) -> tuple[Array, Array]:
    """A batch: image u8 [B, H, W, C], boxes f32 [B, L, 4], each with a key of its own, `key` folded with position i32 [B]."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, position)

    def one(image: Array, digits: Array, boxes: Array, key: Array) -> tuple[Array, Array]:
        return augment(image, digits, boxes, key, augmentation)

    return jax.vmap(one)(image, digits, boxes, keys)
