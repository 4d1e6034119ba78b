"""Digits -> images of digit sequences, as a pure function of a key: computed on the device inside the step.

Everything is integer arithmetic on `jax.random.bits`: float cos and float rounding differ between devices, and an
example must have the same pixels everywhere. Golden hashes in tests/golden_examples.py hold every composition still.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.data.digits import SIZE
from seqdigits.data.synthetic.deterministic_ops import COS, ONE, SIN, below, between, shrink, warp

_EXTENT = SIZE * (np.abs(COS) + np.abs(SIN))
"""Side of the square around a turned tile, fixed point, by degrees + 45."""
_SIDE = 2 * -(-_EXTENT // (2 * ONE))
"""The same in whole pixels, even, so that the middle stays where it is: 28..40."""
_POINTS = 4


def _hats(size: int, points: int) -> np.ndarray:
    """How much of each of `points` points, evenly spread from the first pixel to the last, each pixel takes: i32
    [size, points], sixty-fourths, linear between two of them."""
    at = np.arange(size) * (points - 1) / (size - 1)
    return np.round(64 * np.maximum(1 - np.abs(at[:, None] - np.arange(points)), 0)).astype(np.int32)


_BETWEEN = _hats(SIZE, _POINTS)
FRAME = 40
"""A square of pixels that holds a tile however it is turned."""


@dataclass(frozen=True)
class Augmentation:
    """How far each digit is bent in training, drawn anew every time it is seen; all zero = not at all.

    Attributes:
      rotation: degrees, at most 45, either way.
      zoom: percent, larger or smaller.
      shear: percent, either way.
      shift: pixels, either way, each axis.
      elastic: percent of a pixel that each of 4x4 points over the digit is moved at most, either way, each axis, and what
        lies between them smoothly (Simard et al. 2003, "Best practices for convolutional neural networks", section 2).
    """

    rotation: int = 0
    zoom: int = 0
    shear: int = 0
    shift: int = 0
    elastic: int = 0

    @property
    def on(self) -> bool:
        return any(dataclasses.astuple(self))


BENT = tuple(field.name for field in dataclasses.fields(Augmentation))
"""Keys of the config's section `data` that bend digits."""


class Layout(NamedTuple):
    """Which digits an example is made of and where each goes; i32 and bool [L], pixels.

    Attributes:
      chosen: number of the digit in the split.
      there: False on the positions after the last digit.
      left, top: of the digit's square on the image.
      degrees: how far it is turned, within -45..45.
    """

    chosen: Array
    there: Array
    left: Array
    top: Array
    degrees: Array


@dataclass(frozen=True)
class Digit:
    """Example i is digit i of the split as it stands: 28x28, one position. Nothing is drawn.

    Every composition has these attributes, `layout` and `render`.
    """

    height: int = SIZE
    width: int = SIZE
    max_length: int = 1
    min_length: int = 1

    def layout(self, available: int, index: Array, key: Array) -> Layout:
        """Where what goes.

        Args:
          available: how many digits the split has.
          index: i32 [], the example's number.
          key: the example's own key.
        """
        del available, key
        zero = jnp.zeros(1, jnp.int32)
        return Layout(index[None], jnp.ones(1, bool), zero, zero, zero)

    def render(self, tiles: Array, layout: Layout) -> tuple[Array, Array]:
        """tiles u8 [L, 28, 28] -> image u8 [H, W], and boxes f32 [L, 4] cxcywh, of any value where no digit is."""
        return tiles[0], _squares(layout, SIZE)


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

    def layout(self, available: int, index: Array, key: Array) -> Layout:
        """See Digit.layout."""
        del index
        bits = jax.random.bits(key, (3 + self.max_length,), jnp.uint32)
        length = self.min_length + below(bits[0], self.max_length - self.min_length + 1)
        top = below(bits[1], self.height - SIZE)
        left = below(bits[2], self.width - SIZE * length)
        place = jnp.arange(self.max_length)
        zero = jnp.zeros_like(place)
        return Layout(below(bits[3:], available), place < length, left + SIZE * place, zero + top, zero)

    def render(self, tiles: Array, layout: Layout) -> tuple[Array, Array]:
        """See Digit.render."""
        return _paste_row(tiles, layout, self.height, self.width), _squares(layout, SIZE)


@dataclass(frozen=True)
class Centered:
    """min_length..max_length digits of 12x12 pixels side by side in the middle of height x width; each length as frequent
    as the others. The 28 pixels are averaged, area by area, to 12."""

    height: int
    width: int
    max_length: int
    min_length: int
    side = 12

    def layout(self, available: int, index: Array, key: Array) -> Layout:
        """See Digit.layout."""
        del index
        bits = jax.random.bits(key, (1 + self.max_length,), jnp.uint32)
        length = self.min_length + below(bits[0], self.max_length - self.min_length + 1)
        place = jnp.arange(self.max_length)
        zero = jnp.zeros_like(place)
        left = (self.width - self.side * length) // 2 + self.side * place
        return Layout(below(bits[1:], available), place < length, left, zero + (self.height - self.side) // 2, zero)

    def render(self, tiles: Array, layout: Layout) -> tuple[Array, Array]:
        """See Digit.render."""
        small = shrink(tiles, self.side)
        return _paste_row(small, layout, self.height, self.width), _squares(layout, self.side)


@dataclass(frozen=True)
class Rotated:
    """min_length..max_length digits in a row, each turned by -45..45 degrees and shifted on its own, never touching. Each
    length is as frequent as the others.

    The row has max_length cells of one size. A digit stands about the middle of its cell, at most `jitter` pixels away on
    each axis, and never so far that less than a pixel is left free behind it along the row: so the extents of two turned
    tiles never meet, and all the less their ink. The box of a digit is that extent, a square of 28 (|cos| + |sin|) pixels.

    Attributes:
      jitter: pixels; as large as the image = anywhere in its cell.
      stacked: whether the row runs from top to bottom.
    """

    height: int
    width: int
    max_length: int
    min_length: int
    jitter: int
    stacked: bool = False

    def layout(self, available: int, index: Array, key: Array) -> Layout:
        """See Digit.layout."""
        del index
        bits = jax.random.bits(key, (1 + 4 * self.max_length,), jnp.uint32)
        length = self.min_length + below(bits[0], self.max_length - self.min_length + 1)
        place = jnp.arange(self.max_length)
        chosen, turn, along, across = bits[1:].reshape(4, self.max_length)
        degrees = between(turn, 45)
        side = jnp.asarray(_SIDE)[degrees + 45]  # [L], whole pixels that the turned tile is within
        run, rise = (self.height, self.width) if self.stacked else (self.width, self.height)
        cell = run // self.max_length
        start = cell * place + self._shifted(along, cell - 1 - side)
        other = self._shifted(across, rise - side)
        left, top = (other, start) if self.stacked else (start, other)
        return Layout(below(chosen, available), place < length, left, top, degrees)

    def render(self, tiles: Array, layout: Layout) -> tuple[Array, Array]:
        """See Digit.render."""
        side = jnp.asarray(_SIDE)[layout.degrees + 45]
        turned = jax.vmap(self._turn)(tiles, layout.degrees, side)  # [L, 40, 40], the digit in the middle
        image = jnp.zeros((self.height + 2 * FRAME, self.width + 2 * FRAME), jnp.uint8)
        for i in range(self.max_length):
            at = (
                layout.top[i] + (side[i] - FRAME) // 2 + FRAME,
                layout.left[i] + (side[i] - FRAME) // 2 + FRAME,
            )
            below = jax.lax.dynamic_slice(image, at, (FRAME, FRAME))
            image = jax.lax.dynamic_update_slice(image, jnp.maximum(below, turned[i]), at)
        extent = jnp.asarray(_EXTENT)[layout.degrees + 45].astype(jnp.float32) / ONE
        center = jnp.stack([layout.left + side // 2, layout.top + side // 2], axis=-1).astype(jnp.float32)
        boxes = jnp.concatenate([center, jnp.stack([extent, extent], axis=-1)], axis=-1)
        return image[FRAME:-FRAME, FRAME:-FRAME], boxes

    def _shifted(self, bits: Array, room: Array) -> Array:
        """From 0 to `room`, at most `jitter` from its middle."""
        low = jnp.maximum(room // 2 - self.jitter, 0)
        return low + below(bits, jnp.minimum(room // 2 + self.jitter, room) - low + 1)

    def _turn(self, tile: Array, degrees: Array, side: Array) -> Array:
        """u8 [28, 28] -> u8 [40, 40], nothing outside the middle `side` pixels."""
        cos, sin = jnp.asarray(COS)[degrees + 45], jnp.asarray(SIN)[degrees + 45]
        matrix = jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])
        turned = warp(jnp.pad(tile, (FRAME - SIZE) // 2), matrix, jnp.zeros(2, jnp.int32))
        inside = jnp.abs(2 * jnp.arange(FRAME) - (FRAME - 1)) < side
        return jnp.where(inside[:, None] & inside[None, :], turned, jnp.uint8(0))


Composition = Digit | Canvas | Centered | Rotated
COMPOSITIONS = ("digit", "canvas", "centered", "rotated")


def compose(
    composition: Composition,
    arrays: dict[str, Array],
    index: Array,
    key: Array,
    augment_key: Array | None,
    augmentation: Augmentation,
) -> tuple[Array, Array, Array]:
    """One example: image u8 [H, W, 1], digits i32 [L], boxes f32 [L, 4] cxcywh of the tiles, zeros where none.

    Args:
      composition: how digits stand together.
      arrays: `images` u8 [N, 28, 28] and `labels` i32 [N].
      index: i32 [], the example's number.
      key: the example's own key.
      augment_key: key of augmentation; None = none.
      augmentation: how far digits are bent.
    """
    layout = composition.layout(arrays["labels"].shape[0], index, key)
    tiles = jnp.where(layout.there[:, None, None], arrays["images"][layout.chosen], jnp.uint8(0))
    digits = jnp.where(layout.there, arrays["labels"][layout.chosen], NO_DIGIT)
    if augment_key is not None and augmentation.on:
        tiles = bend(tiles, augment_key, augmentation)
    image, boxes = composition.render(tiles, layout)
    return image[..., None], digits, jnp.where(layout.there[:, None], boxes, 0.0)


def _squares(layout: Layout, side: int) -> Array:
    """Boxes f32 [L, 4] of upright digits."""
    size = jnp.full_like(layout.left, side)
    return jnp.stack([layout.left + side // 2, layout.top + side // 2, size, size], axis=-1).astype(jnp.float32)


def _paste_row(tiles: Array, layout: Layout, height: int, width: int) -> Array:
    """u8 [L, S, S] side by side, from the first one's place on: u8 [height, width]."""
    # The strip may reach over the right edge with its empty tiles: there is room for it, cut off afterwards.
    strip = jnp.swapaxes(tiles, 0, 1).reshape(tiles.shape[1], -1)  # [S, S*L]
    roomy = jnp.zeros((height, width + strip.shape[1]), jnp.uint8)
    return jax.lax.dynamic_update_slice(roomy, strip, (layout.top[0], layout.left[0]))[:, :width]


def bend(tiles: Array, key: Array, augmentation: Augmentation) -> Array:
    """Turns, zooms, shears and shifts each of u8 [L, 28, 28] on its own, bilinear, black outside."""
    bits = jax.random.bits(key, (tiles.shape[0], 5), jnp.uint32)
    degrees = between(bits[:, 0], augmentation.rotation)
    cos, sin = jnp.asarray(COS)[degrees + 45], jnp.asarray(SIN)[degrees + 45]
    # The inverse map, from a place in the result to a place in the source: zoom and shear times rotation.
    zoom = ONE + between(bits[:, 1], augmentation.zoom * ONE // 100)
    shear = between(bits[:, 2], augmentation.shear * ONE // 100)
    matrix = jnp.stack(
        [
            jnp.stack([(zoom * cos - shear * sin) // ONE, (zoom * sin + shear * cos) // ONE], -1),
            jnp.stack([-zoom * sin // ONE, zoom * cos // ONE], -1),
        ],
        -2,
    )  # [L, 2, 2], (x, y) rows
    shift = between(bits[:, 3:5], augmentation.shift * ONE)
    if not augmentation.elastic:
        return jax.vmap(warp)(tiles, matrix, shift)
    points = jax.random.bits(jax.random.fold_in(key, 1), (tiles.shape[0], 2, _POINTS, _POINTS), jnp.uint32)
    points = between(points, augmentation.elastic * ONE // 100)
    field = jnp.einsum("iu,...uv,jv->...ij", _BETWEEN, points, _BETWEEN) >> 12  # [L, 2, 28, 28]
    return jax.vmap(warp)(tiles, matrix, shift[:, :, None, None] + field)
