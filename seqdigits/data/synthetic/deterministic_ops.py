"""Warps and draws in integer arithmetic: the same bits on every device."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

ONE = 4096
"""1.0 in the fixed-point numbers of this room: 12 bits after the point."""

_DEGREES = np.arange(-45, 46)
COS = np.round(np.cos(np.deg2rad(_DEGREES)) * ONE).astype(np.int32)
SIN = np.round(np.sin(np.deg2rad(_DEGREES)) * ONE).astype(np.int32)


def shrink(tiles: Array, side: int) -> Array:
    """u8 [..., S, S] -> u8 [..., side, side]: each new pixel is the mean of the area that it covers, rounded."""
    size = tiles.shape[-1]
    # In units of 1 / side of a source pixel, so that all weights are whole: new pixel i covers i*size..(i+1)*size.
    new, old = np.arange(side)[:, None] * size, np.arange(size)[None, :] * side
    weight = np.maximum(np.minimum(new + size, old + side) - np.maximum(new, old), 0).astype(np.int32)  # [side, S]
    total = jnp.einsum("is,...st,jt->...ij", weight, tiles.astype(jnp.int32), weight)
    return ((total + size * size // 2) // (size * size)).astype(jnp.uint8)


def warp(tile: Array, matrix: Array, shift: Array) -> Array:
    """Reads u8 [S, S] at `matrix` times the place from the middle, plus `shift`; bilinear, black outside.

    Args:
      tile: u8 [S, S], S <= 64.
      matrix: i32 [2, 2], fixed point, rows x and y; entries below 4 * ONE.
      shift: i32 [2] or [2, S, S], fixed point, pixels in x and y.

    Returns:
      u8 [S, S].
    """
    side = tile.shape[0]
    middle = 2 * jnp.arange(side) - (side - 1)  # twice the distance from the middle, so that it is whole
    x, y = middle[None, :], middle[:, None]
    center = (side - 1) * ONE // 2
    source_x = (matrix[0, 0] * x + matrix[0, 1] * y) // 2 + center + shift[0]
    source_y = (matrix[1, 0] * x + matrix[1, 1] * y) // 2 + center + shift[1]
    padded = jnp.pad(tile, 1).astype(jnp.int32)  # a black frame, where everything outside is read

    def at(r: Array, c: Array) -> Array:
        return padded[jnp.clip(r + 1, 0, side + 1), jnp.clip(c + 1, 0, side + 1)]

    return bilinear(at, source_x, source_y)


def bilinear(at: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """Reads an image between its pixels.

    Args:
      at: the pixels of rows i32 [H, W] and columns i32 [H, W], any of them: i32 [H, W] or [H, W, C], 0..255.
      x, y: i32 [H, W], where to read, from the middle of the first pixel, fixed point.

    Returns:
      u8, shaped as `at` gives it.
    """
    column, row = x >> 12, y >> 12
    upper_left = at(row, column)
    more = (1,) * (upper_left.ndim - x.ndim)
    right, down = (
        ((part & (ONE - 1)) >> 4).reshape(*x.shape, *more) for part in (x, y)
    )  # 8 bits are enough for a weight
    upper = upper_left * (256 - right) + at(row, column + 1) * right
    lower = at(row + 1, column) * (256 - right) + at(row + 1, column + 1) * right
    return ((upper * (256 - down) + lower * down + 32768) >> 16).astype(jnp.uint8)


def below(bits: Array, bound: Array | int) -> Array:
    """u32 bits -> i32 in 0..bound-1; 0 for a bound of 0. The bias, bound / 2^32, is below 1e-4 of a percent here."""
    return (bits % jnp.maximum(jnp.asarray(bound), 1).astype(jnp.uint32)).astype(jnp.int32)


def between(bits: Array, limit: int) -> Array:
    """u32 bits -> i32 in -limit..limit."""
    return below(bits, 2 * limit + 1) - limit
