"""Image warps and random draws in integer arithmetic, bit-exact across devices."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

ONE = 4096
"""1.0 in the fixed-point numbers of this module, which have 12 fractional bits."""

_DEGREES = np.arange(-45, 46)
COS = np.round(np.cos(np.deg2rad(_DEGREES)) * ONE).astype(np.int32)
SIN = np.round(np.sin(np.deg2rad(_DEGREES)) * ONE).astype(np.int32)
"""i32 [91], cosine and sine of -45 to 45 degrees, fixed point."""


def shrink(tiles: Array, side: int) -> Array:
    """Reduces u8 [..., S, S] to u8 [..., side, side] by area averaging, rounded to nearest."""
    size = tiles.shape[-1]
    # In units of 1 / side of a source pixel, so that all weights are integers: new pixel i covers i*size..(i+1)*size.
    new, old = np.arange(side)[:, None] * size, np.arange(size)[None, :] * side
    weight = np.maximum(np.minimum(new + size, old + side) - np.maximum(new, old), 0).astype(np.int32)  # [side, S]
    total = jnp.einsum("is,...st,jt->...ij", weight, tiles.astype(jnp.int32), weight)
    return ((total + size * size // 2) // (size * size)).astype(jnp.uint8)


def warp(tile: Array, matrix: Array, shift: Array) -> Array:
    """Warps a tile by an affine map and a shift, with bilinear sampling and black outside the tile.

    An output pixel at offset p from the center has the value of the tile at center + matrix p + shift.

    Args:
      tile: u8 [S, S], S <= 64.
      matrix: i32 [2, 2], fixed point, rows x and y; entries below 4 * ONE in magnitude.
      shift: i32 [2] or [2, S, S], fixed point, pixels in x and y.

    Returns:
      u8 [S, S].
    """
    side = tile.shape[0]
    middle = 2 * jnp.arange(side) - (side - 1)  # twice the distance from the center, an integer
    x, y = middle[None, :], middle[:, None]
    center = (side - 1) * ONE // 2
    source_x = (matrix[0, 0] * x + matrix[0, 1] * y) // 2 + center + shift[0]
    source_y = (matrix[1, 0] * x + matrix[1, 1] * y) // 2 + center + shift[1]
    padded = jnp.pad(tile, 1).astype(jnp.int32)  # a black border, sampled for all coordinates outside

    def at(r: Array, c: Array) -> Array:
        return padded[jnp.clip(r + 1, 0, side + 1), jnp.clip(c + 1, 0, side + 1)]

    return bilinear(at, source_x, source_y)


def bilinear(at: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """Samples an image bilinearly.

    Args:
      at: returns the pixels at rows i32 [H, W] and columns i32 [H, W] of any value: i32 [H, W] or [H, W, C], 0..255.
      x: i32 [H, W], coordinates to sample at, fixed point, from the center of the first pixel.
      y: likewise.

    Returns:
      u8, of the shape that `at` returns.
    """
    column, row = x >> 12, y >> 12
    upper_left = at(row, column)
    channel_axes = (1,) * (upper_left.ndim - x.ndim)
    right, down = (
        ((part & (ONE - 1)) >> 4).reshape(*x.shape, *channel_axes) for part in (x, y)
    )  # 8 bits are enough for a weight
    upper = upper_left * (256 - right) + at(row, column + 1) * right
    lower = at(row + 1, column) * (256 - right) + at(row + 1, column + 1) * right
    return ((upper * (256 - down) + lower * down + 32768) >> 16).astype(jnp.uint8)


def below(bits: Array, bound: Array | int) -> Array:
    """Maps u32 random bits to i32 in 0..bound-1, or to 0 where bound is 0.

    The modulo bias, bound / 2^32, is below 1e-4 percent for the bounds used here.
    """
    return (bits % jnp.maximum(jnp.asarray(bound), 1).astype(jnp.uint32)).astype(jnp.int32)


def between(bits: Array, limit: int) -> Array:
    """Maps u32 random bits to i32 in -limit..limit."""
    return below(bits, 2 * limit + 1) - limit
