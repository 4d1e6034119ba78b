"""Composes images of digit sequences from single digits, on the device inside the step.

Each composition is a pure function of a key, in integer arithmetic on `jax.random.bits`. Float cos and float rounding
differ between devices, but an example must have the same pixels everywhere. Golden hashes in tests/golden_examples.py
check the pixels of every composition.
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
from seqdigits.data.synthetic import passes
from seqdigits.data.synthetic.deterministic_ops import COS, ONE, SIN, below, between, shrink, warp

_EXTENT = SIZE * (np.abs(COS) + np.abs(SIN))
"""Side of the square around a rotated tile, fixed point, indexed by degrees + 45."""
_SIDE = 2 * -(-_EXTENT // (2 * ONE))
"""The same, rounded up to an even number of pixels so that the center is preserved: 28..40."""
_POINTS = 4


def _hat_weights(size: int, points: int) -> np.ndarray:
    """Returns the weights of linear interpolation from `points` control points to `size` pixels.

    The points are evenly spaced from the first pixel to the last. The weights are i32 [size, points] in units of 1/64.
    """
    at = np.arange(size) * (points - 1) / (size - 1)
    return np.round(64 * np.maximum(1 - np.abs(at[:, None] - np.arange(points)), 0)).astype(np.int32)


_HAT_WEIGHTS = _hat_weights(SIZE, _POINTS)
FRAME = 40
"""Side of a square, in pixels, that contains a tile at any rotation."""


@dataclass(frozen=True)
class Augmentation:
    """The ranges of the random warp of each digit in training, resampled at every visit; all zero = no warp.

    Attributes:
      rotation: degrees in either direction, at most 45.
      zoom: percent larger or smaller.
      shear: percent in either direction.
      shift: pixels in either direction along each axis.
      elastic: maximum displacement, in percent of a pixel in either direction along each axis, of a grid of 4x4 control
        points over the digit, with linear interpolation between them (elastic distortion: Simard et al. 2003, "Best
        practices for convolutional neural networks", section 2).
    """

    rotation: int = 0
    zoom: int = 0
    shear: int = 0
    shift: int = 0
    elastic: int = 0

    @property
    def on(self) -> bool:
        """Returns whether any range is nonzero."""
        return any(dataclasses.astuple(self))


AUGMENTATION_KEYS = tuple(field.name for field in dataclasses.fields(Augmentation))
"""Keys of the config's section `data` that set the augmentation of digits."""


class Layout(NamedTuple):
    """The digits of an example and their places in the image, i32 [L] unless stated otherwise.

    Attributes:
      chosen: index of the digit in the split.
      valid: bool [L], False at the positions after the last digit.
      left: left edge of the digit's square in the image, in pixels.
      top: top edge of the digit's square in the image, in pixels.
      degrees: rotation in degrees, -45..45.
    """

    chosen: Array
    valid: Array
    left: Array
    top: Array
    degrees: Array


@dataclass(frozen=True)
class Digit:
    """Example i is digit i of the split, unchanged: 28x28, one position. Nothing is random.

    Every composition has these attributes, `layout` and `render`.
    """

    height: int = SIZE
    width: int = SIZE
    max_length: int = 1
    min_length: int = 1

    def layout(self, available: int, index: Array, key: Array) -> Layout:
        """Samples the digits of an example and their places.

        Args:
          available: number of digits in the split.
          index: i32 [], index of the example.
          key: key of the example.
        """
        del available, key
        zero = jnp.zeros(1, jnp.int32)
        return Layout(index[None], jnp.ones(1, bool), zero, zero, zero)

    def render(self, tiles: Array, layout: Layout) -> tuple[Array, Array]:
        """Renders the image and the boxes.

        Args:
          tiles: u8 [L, 28, 28], black at positions without a digit.
          layout: the places of the tiles.

        Returns:
          The image u8 [H, W], and boxes f32 [L, 4] cxcywh, of any value at positions without a digit.
        """
        return tiles[0], _squares(layout, SIZE)


@dataclass(frozen=True)
class Canvas:
    """min_length..max_length adjacent digits at a random place on a black canvas of height x width.

    Lengths are uniformly distributed. As in the published sets, top is sampled from 0..height-29 and left from
    0..width-28n-1, so that the last place of each axis is never used. An axis without free space has 0. A canvas of
    28 x 28L with L digits is a strip.

    Attributes:
      scattered: whether each digit has a place of its own instead, anywhere on the canvas without an overlap. The digits are in
        the order of their left edges. All places are drawn together, up to 32 times until none overlap; if all overlap, which
        only a crowded canvas makes likely, the digits are side by side in the upper left corner.
    """

    height: int
    width: int
    max_length: int
    min_length: int
    scattered: bool = False

    def layout(self, available: int, index: Array, key: Array) -> Layout:
        """See Digit.layout."""
        del index
        if self.scattered:
            return self._scatter(available, key)
        bits = jax.random.bits(key, (3 + self.max_length,), jnp.uint32)
        length = self.min_length + below(bits[0], self.max_length - self.min_length + 1)
        top = below(bits[1], self.height - SIZE)
        left = below(bits[2], self.width - SIZE * length)
        place = jnp.arange(self.max_length)
        zero = jnp.zeros_like(place)
        return Layout(below(bits[3:], available), place < length, left + SIZE * place, zero + top, zero)

    def render(self, tiles: Array, layout: Layout) -> tuple[Array, Array]:
        """See Digit.render."""
        if not self.scattered:
            return _paste_row(tiles, layout, self.height, self.width), _squares(layout, SIZE)
        image = jnp.zeros((self.height, self.width), jnp.uint8)
        for i in range(self.max_length):
            at = (layout.top[i], layout.left[i])
            under = jax.lax.dynamic_slice(
                image, at, (SIZE, SIZE)
            )  # a tile without a digit is black, and changes nothing
            image = jax.lax.dynamic_update_slice(image, jnp.maximum(under, tiles[i]), at)
        return image, _squares(layout, SIZE)

    def _scatter(self, available: int, key: Array) -> Layout:
        count = self.max_length
        bits = jax.random.bits(key, (1 + count + 2 * _TRIES * count,), jnp.uint32)
        length = self.min_length + below(bits[0], count - self.min_length + 1)
        place = jnp.arange(count)
        tops, lefts = bits[1 + count :].reshape(2, _TRIES, count)
        tops, lefts = below(tops, self.height - SIZE + 1), below(lefts, self.width - SIZE + 1)
        tops = jnp.concatenate([tops, jnp.zeros((1, count), jnp.int32)])  # [tries + 1, L]
        lefts = jnp.concatenate([lefts, SIZE * place[None]])
        is_near = [abs(x[:, :, None] - x[:, None, :]) < SIZE for x in (tops, lefts)]
        is_pair = (place[:, None] < place) & (place < length)
        chosen = jnp.argmax(~jnp.any(is_near[0] & is_near[1] & is_pair, axis=(1, 2)))  # the first without an overlap
        order = jnp.argsort(jnp.where(place < length, lefts[chosen], self.width))
        zero = jnp.zeros_like(place)
        return Layout(
            below(bits[1 : 1 + count], available), place < length, lefts[chosen][order], tops[chosen][order], zero
        )


_TRIES = 32
"""Number of times that the places of scattered digits are drawn."""


@dataclass(frozen=True)
class Centered:
    """min_length..max_length adjacent digits of 12x12 pixels in the center of height x width.

    Lengths are uniformly distributed. Digits are reduced from 28 to 12 pixels by area averaging.
    """

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
    """min_length..max_length digits in a row, each rotated by up to max_rotation degrees and shifted independently, never touching.

    Lengths are uniformly distributed. The row has max_length cells of equal size. A digit is at most `jitter` pixels per
    axis from the center of its cell, and at least one pixel of the cell stays free behind it along the row. The extents
    of two rotated tiles therefore never touch. The box of a digit is this extent, a square of 28 (|cos| + |sin|) pixels.

    Attributes:
      jitter: pixels; with a value as large as the image, digits are anywhere in their cells.
      stacked: whether the row runs from top to bottom.
      max_rotation: degrees in either direction, at most 45.
    """

    height: int
    width: int
    max_length: int
    min_length: int
    jitter: int
    stacked: bool = False
    max_rotation: int = 45

    def layout(self, available: int, index: Array, key: Array) -> Layout:
        """See Digit.layout."""
        del index
        bits = jax.random.bits(key, (1 + 4 * self.max_length,), jnp.uint32)
        length = self.min_length + below(bits[0], self.max_length - self.min_length + 1)
        place = jnp.arange(self.max_length)
        chosen, turn, along, across = bits[1:].reshape(4, self.max_length)
        degrees = between(turn, self.max_rotation)
        side = jnp.asarray(_SIDE)[degrees + 45]  # [L], pixels
        run, rise = (self.height, self.width) if self.stacked else (self.width, self.height)
        cell = run // self.max_length
        start = cell * place + self._shifted(along, cell - 1 - side)
        other = self._shifted(across, rise - side)
        left, top = (other, start) if self.stacked else (start, other)
        return Layout(below(chosen, available), place < length, left, top, degrees)

    def render(self, tiles: Array, layout: Layout) -> tuple[Array, Array]:
        """See Digit.render."""
        side = jnp.asarray(_SIDE)[layout.degrees + 45]
        rotated = jax.vmap(self._rotate)(tiles, layout.degrees, side)  # [L, 40, 40], the digit in the center
        image = jnp.zeros((self.height + 2 * FRAME, self.width + 2 * FRAME), jnp.uint8)
        for i in range(self.max_length):
            at = (
                layout.top[i] + (side[i] - FRAME) // 2 + FRAME,
                layout.left[i] + (side[i] - FRAME) // 2 + FRAME,
            )
            below = jax.lax.dynamic_slice(image, at, (FRAME, FRAME))
            image = jax.lax.dynamic_update_slice(image, jnp.maximum(below, rotated[i]), at)
        extent = jnp.asarray(_EXTENT)[layout.degrees + 45].astype(jnp.float32) / ONE
        center = jnp.stack([layout.left + side // 2, layout.top + side // 2], axis=-1).astype(jnp.float32)
        boxes = jnp.concatenate([center, jnp.stack([extent, extent], axis=-1)], axis=-1)
        return image[FRAME:-FRAME, FRAME:-FRAME], boxes

    def _shifted(self, bits: Array, space: Array) -> Array:
        """Samples an offset in 0..`space`, at most `jitter` from its middle."""
        low = jnp.maximum(space // 2 - self.jitter, 0)
        return low + below(bits, jnp.minimum(space // 2 + self.jitter, space) - low + 1)

    def _rotate(self, tile: Array, degrees: Array, side: Array) -> Array:
        """Rotates a tile u8 [28, 28] into u8 [40, 40], black outside the central `side` pixels."""
        cos, sin = jnp.asarray(COS)[degrees + 45], jnp.asarray(SIN)[degrees + 45]
        matrix = jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])
        rotated = warp(jnp.pad(tile, (FRAME - SIZE) // 2), matrix, jnp.zeros(2, jnp.int32))
        inside = jnp.abs(2 * jnp.arange(FRAME) - (FRAME - 1)) < side
        return jnp.where(inside[:, None] & inside[None, :], rotated, jnp.uint8(0))


Composition = Digit | Canvas | Centered | Rotated
COMPOSITIONS = ("digit", "canvas", "centered", "rotated")


def compose(
    composition: Composition,
    arrays: dict[str, Array],
    index: Array,
    key: Array,
    augment_key: Array | None,
    augmentation: Augmentation,
    order_key: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Composes one example.

    Args:
      composition: the arrangement of the digits.
      arrays: `images` u8 [N, 28, 28] and `labels` i32 [N].
      index: i32 [], index of the example.
      key: key of the example.
      augment_key: key of augmentation; None = no augmentation.
      augmentation: the ranges of augmentation.
      order_key: key of the passes that digits are drawn in, see passes.draw; None = each digit is drawn independently.

    Returns:
      The image u8 [H, W, 1], digits i32 [L] (NO_DIGIT after the last), and boxes f32 [L, 4] cxcywh of the tiles, zeros
      at positions without a digit.
    """
    available = arrays["labels"].shape[0]
    layout = composition.layout(available, index, key)
    if order_key is not None:
        layout = layout._replace(chosen=passes.draw(order_key, index, composition.max_length, available))
    tiles = jnp.where(layout.valid[:, None, None], arrays["images"][layout.chosen], jnp.uint8(0))
    digits = jnp.where(layout.valid, arrays["labels"][layout.chosen], NO_DIGIT)
    if augment_key is not None and augmentation.on:
        tiles = warp_digits(tiles, augment_key, augmentation)
    image, boxes = composition.render(tiles, layout)
    return image[..., None], digits, jnp.where(layout.valid[:, None], boxes, 0.0)


def _squares(layout: Layout, side: int) -> Array:
    """Returns the boxes f32 [L, 4] cxcywh of digits without rotation."""
    size = jnp.full_like(layout.left, side)
    return jnp.stack([layout.left + side // 2, layout.top + side // 2, size, size], axis=-1).astype(jnp.float32)


def _paste_row(tiles: Array, layout: Layout, height: int, width: int) -> Array:
    """Pastes tiles u8 [L, S, S] side by side, from the place of the first on: u8 [height, width]."""
    # Empty tiles at the end of the strip may extend past the right edge; the extra width holds them.
    strip = jnp.swapaxes(tiles, 0, 1).reshape(tiles.shape[1], -1)  # [S, S*L]
    padded = jnp.zeros((height, width + strip.shape[1]), jnp.uint8)
    return jax.lax.dynamic_update_slice(padded, strip, (layout.top[0], layout.left[0]))[:, :width]


def warp_digits(tiles: Array, key: Array, augmentation: Augmentation) -> Array:
    """Warps each tile of u8 [L, 28, 28] independently: an affine map, and an elastic distortion if enabled.

    Sampling is bilinear, with black outside the tile. Returns u8 [L, 28, 28].
    """
    bits = jax.random.bits(key, (tiles.shape[0], 5), jnp.uint32)
    degrees = between(bits[:, 0], augmentation.rotation)
    cos, sin = jnp.asarray(COS)[degrees + 45], jnp.asarray(SIN)[degrees + 45]
    # The inverse map, from output to source coordinates: zoom and shear times rotation.
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
    field = jnp.einsum("iu,...uv,jv->...ij", _HAT_WEIGHTS, points, _HAT_WEIGHTS) >> 12  # [L, 2, 28, 28]
    return jax.vmap(warp)(tiles, matrix, shift[:, :, None, None] + field)
