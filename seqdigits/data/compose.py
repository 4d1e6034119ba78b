"""Digits -> images of digit sequences, as a pure function of a key: computed on the device inside the step.

Everything is integer arithmetic on `jax.random.bits`: float cos and float rounding differ between devices, and an
example must have the same pixels everywhere. Golden hashes in tests/test_compose.py hold every composition still.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.batch import NO_DIGIT
from seqdigits.data.digits import SIZE

ONE = 4096
"""1.0 in the fixed-point numbers of this room: 12 bits after the point."""

_DEGREES = np.arange(-45, 46)
_COS = np.round(np.cos(np.deg2rad(_DEGREES)) * ONE).astype(np.int32)
_SIN = np.round(np.sin(np.deg2rad(_DEGREES)) * ONE).astype(np.int32)


@dataclass(frozen=True)
class Augmentation:
    """How far each digit is bent in training, drawn anew every time it is seen; all zero = not at all.

    Attributes:
      rotation: degrees, at most 45, either way.
      zoom: percent, larger or smaller.
      shear: percent, either way.
      shift: pixels, either way, each axis.
    """

    rotation: int = 0
    zoom: int = 0
    shear: int = 0
    shift: int = 0

    @property
    def on(self) -> bool:
        return any((self.rotation, self.zoom, self.shear, self.shift))


@dataclass(frozen=True)
class Digit:
    """Example i is digit i of the split as it stands: 28x28, one position. Nothing is drawn.

    Every composition has these attributes and `example`.
    """

    height: int = SIZE
    width: int = SIZE
    max_length: int = 1
    min_length: int = 1

    def example(self, arrays: dict[str, Array], index: Array, key: Array) -> tuple[Array, Array, Array, Array]:
        """The tiles of one example and where they go.

        Args:
          arrays: `images` u8 [N, 28, 28] and `labels` i32 [N].
          index: i32 [], the example's number.
          key: the example's own key.

        Returns:
          tiles u8 [L, 28, 28]; digits i32 [L] with NO_DIGIT after the last; top and left i32 [], pixels.
        """
        del key
        zero = jnp.zeros((), jnp.int32)
        return arrays["images"][index][None], arrays["labels"][index][None], zero, zero


@dataclass(frozen=True)
class Canvas:
    """min_length..max_length digits side by side, at a random place on a black canvas of height x width.

    Each length is as frequent as the others. Top is drawn from 0..height-29, left from 0..width-28n-1, as the published
    sets have it (the last place of each axis is never used); where there is no room to move, 0. On 28 x 28L with L
    digits this is a strip.
    """

    height: int
    width: int
    max_length: int
    min_length: int

    def example(self, arrays: dict[str, Array], index: Array, key: Array) -> tuple[Array, Array, Array, Array]:
        """See Digit.example."""
        del index
        bits = jax.random.bits(key, (3 + self.max_length,), jnp.uint32)
        length = self.min_length + _below(bits[0], self.max_length - self.min_length + 1)
        top = _below(bits[1], self.height - SIZE)
        left = _below(bits[2], self.width - SIZE * length)
        chosen = _below(bits[3:], arrays["labels"].shape[0])
        there = jnp.arange(self.max_length) < length
        tiles = jnp.where(there[:, None, None], arrays["images"][chosen], jnp.uint8(0))
        return tiles, jnp.where(there, arrays["labels"][chosen], NO_DIGIT), top, left


COMPOSITIONS = ("digit", "canvas")


def compose(
    composition: Digit | Canvas,
    arrays: dict[str, Array],
    index: Array,
    key: Array,
    augment_key: Array | None,
    augmentation: Augmentation,
) -> tuple[Array, Array, Array]:
    """One example: image u8 [H, W, 1], digits i32 [L], boxes f32 [L, 4] cxcywh of the 28-pixel tiles, zeros where none.

    `augment_key` None means no augmentation.
    """
    tiles, digits, top, left = composition.example(arrays, index, key)
    there = digits != NO_DIGIT
    if augment_key is not None and augmentation.on:
        tiles = bend(tiles, augment_key, augmentation)
    # The strip may reach over the right edge with its empty tiles: there is room for it, cut off afterwards.
    strip = jnp.swapaxes(tiles, 0, 1).reshape(SIZE, -1)  # [28, 28*L]
    roomy = jnp.zeros((composition.height, composition.width + strip.shape[1]), jnp.uint8)
    image = jax.lax.dynamic_update_slice(roomy, strip, (top, left))[:, : composition.width]
    x = left + SIZE * jnp.arange(composition.max_length) + SIZE // 2
    y = jnp.full_like(x, top + SIZE // 2)
    size = jnp.full_like(x, SIZE)
    boxes = jnp.where(there[:, None], jnp.stack([x, y, size, size], axis=-1), 0)
    return image[..., None], digits, boxes.astype(jnp.float32)


def bend(tiles: Array, key: Array, augmentation: Augmentation) -> Array:
    """Turns, zooms, shears and shifts each of u8 [L, 28, 28] on its own, bilinear, black outside."""
    bits = jax.random.bits(key, (tiles.shape[0], 5), jnp.uint32)
    degrees = _between(bits[:, 0], augmentation.rotation)
    cos, sin = jnp.asarray(_COS)[degrees + 45], jnp.asarray(_SIN)[degrees + 45]
    # The inverse map, from a place in the result to a place in the source: zoom and shear times rotation.
    zoom = ONE + _between(bits[:, 1], augmentation.zoom * ONE // 100)
    shear = _between(bits[:, 2], augmentation.shear * ONE // 100)
    matrix = jnp.stack(
        [
            jnp.stack([(zoom * cos - shear * sin) // ONE, (zoom * sin + shear * cos) // ONE], -1),
            jnp.stack([-zoom * sin // ONE, zoom * cos // ONE], -1),
        ],
        -2,
    )  # [L, 2, 2], (x, y) rows
    shift = _between(bits[:, 3:5], augmentation.shift * ONE)
    return jax.vmap(warp)(tiles, matrix, shift)


def warp(tile: Array, matrix: Array, shift: Array) -> Array:
    """Reads u8 [S, S] at `matrix` times the place from the middle, plus `shift`; bilinear, black outside.

    Args:
      tile: u8 [S, S], S <= 64.
      matrix: i32 [2, 2], fixed point, rows x and y; entries below 4 * ONE.
      shift: i32 [2], fixed point, pixels in x and y.

    Returns:
      u8 [S, S].
    """
    side = tile.shape[0]
    middle = 2 * jnp.arange(side) - (side - 1)  # twice the distance from the middle, so that it is whole
    x, y = middle[None, :], middle[:, None]
    centre = (side - 1) * ONE // 2
    source_x = (matrix[0, 0] * x + matrix[0, 1] * y) // 2 + centre + shift[0]
    source_y = (matrix[1, 0] * x + matrix[1, 1] * y) // 2 + centre + shift[1]
    column, row = source_x // ONE, source_y // ONE
    right, down = (source_x % ONE) >> 4, (source_y % ONE) >> 4  # 8 bits are enough for a weight
    padded = jnp.pad(tile, 1).astype(jnp.int32)  # a black frame, where everything outside is read

    def at(r: Array, c: Array) -> Array:
        return padded[jnp.clip(r + 1, 0, side + 1), jnp.clip(c + 1, 0, side + 1)]

    upper = at(row, column) * (256 - right) + at(row, column + 1) * right
    lower = at(row + 1, column) * (256 - right) + at(row + 1, column + 1) * right
    return ((upper * (256 - down) + lower * down + 32768) >> 16).astype(jnp.uint8)


def _below(bits: Array, bound: Array | int) -> Array:
    """u32 bits -> i32 in 0..bound-1; 0 for a bound of 0. The bias, bound / 2^32, is below 1e-4 of a percent here."""
    return (bits % jnp.maximum(jnp.asarray(bound), 1).astype(jnp.uint32)).astype(jnp.int32)


def _between(bits: Array, limit: int) -> Array:
    """u32 bits -> i32 in -limit..limit."""
    return _below(bits, 2 * limit + 1) - limit
