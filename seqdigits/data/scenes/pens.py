"""Handwritten digits for scenes, enlarged, and as thin as a pen writes.

The strokes of MNIST are as thick as those of a felt-tip: 10% to 20% of the height of a digit.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

SIDE = 48
"""Side of an enlarged digit, texels; one of MNIST's has 28, and its digit at most 20."""
DIGIT_HEIGHT = 20 * SIDE / 28
"""Height of the tallest digit, texels."""
_REACH = 3
"""Distance from the middle of a stroke at which it ends, texels."""
_UNIT = 64


def _cubic_weights() -> np.ndarray:
    """Returns the weights of cubic interpolation (Keys 1981, a = -1/2) from 28 to SIDE texels, f32 [SIDE, 28], in 1/64.

    They are whole numbers with a sum of 64, so that the enlarged picture is the same on every device.
    """
    at = (np.arange(SIDE) + 0.5) * 28 / SIDE - 0.5
    d = np.abs(at[:, None] - np.arange(28))
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.round(_UNIT * np.where(d < 1, near, np.where(d < 2, far, 0)))
    middle = np.argmax(weights, 1)
    weights[np.arange(SIDE), middle] += _UNIT - weights.sum(1)
    return weights.astype(np.float32)


_WEIGHTS = _cubic_weights()


def draw_strokes(tiles: Array, thinness: Array, has_bar: Array, has_flag: Array) -> Array:
    """Enlarges handwritten digits and thins their strokes.

    The middle line of a stroke is where the blurred digit is darker than on both sides, in one of four directions (the ridges
    of Haralick 1983, by second differences). Strokes that are too thick for that keep their darkest part.

    Args:
      tiles: u8 [L, 28, 28].
      thinness: i32 [L], 0 = as wide as it is; 45 leaves about 10% of the height of the digit, 95 about 4%.
      has_bar: bool [L], whether the stem is crossed by a bar, as in a European 7.
      has_flag: bool [L], whether a stroke leads up to the top of the stem, as in a European 1.

    Returns:
      u8 [L, 48, 48], coverage.
    """
    weights = jnp.asarray(_WEIGHTS)
    # Products and sums are whole numbers below 2**24, hence exact.
    rows = jnp.einsum("yi,lij->lyj", weights, tiles.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
    page = jnp.einsum("lyj,xj->lyx", rows, weights, precision=jax.lax.Precision.HIGHEST)
    page = jnp.clip((page.astype(jnp.int32) + _UNIT**2 // 2) // _UNIT**2, 0, 255)
    page = jnp.maximum(page, jnp.where(has_bar[:, None, None], _bar(page), 0))
    page = jnp.maximum(page, jnp.where(has_flag[:, None, None], _flag(page), 0))
    soft = _blur(page)
    steps = ((0, _REACH), (_REACH, 0), (_REACH - 1, _REACH - 1), (_REACH - 1, 1 - _REACH))
    ridge = jnp.stack([2 * soft - _shift(soft, dy, dx) - _shift(soft, -dy, -dx) for dy, dx in steps]).max(0)
    ridge = ridge * 128 // jnp.maximum(soft, 128)
    side = 2 * _REACH + 1
    darkest = jax.lax.reduce_window(soft, 0, jax.lax.max, (1, side, side), (1, 1, 1), "same")
    peak = soft * 255 // jnp.maximum(darkest, 64)
    threshold = thinness[:, None, None]
    thin = jnp.maximum(128 + (ridge - threshold) * 8, 128 + (peak - 240) * 12)
    thin = jnp.clip(jnp.minimum(thin, (page - 60) * 4), 0, 255)
    return jnp.where(threshold > 0, thin, page).astype(jnp.uint8)


def _shift(page: Array, down: int, right: int) -> Array:
    """Returns the texels that are `down` and `right` of those of i32 [L, 48, 48]; 0 beyond the edge."""
    padded = jnp.pad(page, ((0, 0), (_REACH, _REACH), (_REACH, _REACH)))
    return padded[:, _REACH + down : _REACH + down + SIDE, _REACH + right : _REACH + right + SIDE]


def _blur(page: Array) -> Array:
    """Blurs i32 [L, 48, 48] so that a stroke is darkest in its middle, however thick it is."""
    for axis in (1, 2):
        padded = jnp.pad(page, [(3, 3) if i == axis else (0, 0) for i in range(3)])
        shifted = [
            jax.lax.slice_in_dim(padded, i, i + SIDE, axis=axis) * w for i, w in enumerate((1, 2, 3, 4, 3, 2, 1))
        ]
        page = sum(shifted[1:], shifted[0]) >> 4
    return page


def _bar(page: Array) -> Array:
    """Returns a bar across the stem of each digit i32 [L, 48, 48], at half its height."""
    stem = jnp.argmax(page[:, SIDE // 2], -1)[:, None, None]  # column of the stem
    x, y = jnp.arange(SIDE), jnp.arange(SIDE)[:, None]
    distance = jnp.abs(4 * (y - SIDE // 2) + (x - stem))
    return jnp.clip(255 - jnp.maximum(distance - 4, 0) * 32, 0, 255) * (jnp.abs(x - stem) < 8)


def _flag(page: Array) -> Array:
    """Returns a stroke from the top of each digit i32 [L, 48, 48] to the lower left."""
    covered = page > 128
    top = jnp.argmax(covered.any(2), 1)  # [L]
    at = jnp.minimum(top + 2, SIDE - 1)
    column = jnp.argmax(jnp.take_along_axis(page, at[:, None, None], 1)[:, 0], -1)[:, None, None]
    x, y = jnp.arange(SIDE), jnp.arange(SIDE)[:, None]
    right, down = column - x, y - at[:, None, None]
    distance = jnp.abs(down - right)
    return jnp.clip(255 - jnp.maximum(distance - 1, 0) * 90, 0, 255) * ((right >= 0) & (right < 11))
