"""Text layer of a scene: the coverage of each pixel by glyphs and plates.

Each line of glyphs is sampled through its own projective map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.data.scenes.draws import Draws
from seqdigits.data.scenes.layout import CELL, DIGIT_HEIGHT, DIVISOR_ONE, LINE_STRIDE, SUB, Glyphs, Lines, Scene
from seqdigits.data.synthetic.deterministic_ops import ONE

_LEVELS = 3
_SIDES = np.array([CELL >> level for level in range(_LEVELS)], np.int32)
_OFFSETS = np.concatenate([[0], np.cumsum(_SIDES**2)]).astype(np.int32)

Pick = Callable[[Array], Array]
"""Maps values i32 [T] of lines to those of each pixel's line, i32 [H, W]; 0 where there is no line."""


class TextLayer(NamedTuple):
    """The pixels that the lines cover.

    Attributes:
      line: i32 [H, W], index of the line whose region contains the pixel; T = none.
      cover: i32 [H, W], coverage by text, 0..255.
      plate: i32 [H, W], coverage by a plate behind the line, 0..255.
      rim: i32 [H, W], coverage by the plate's border, 0..255.
    """

    line: Array
    cover: Array
    plate: Array
    rim: Array


def render_text(scene: Scene, draws: Draws, glyphs: Glyphs, lines: Lines) -> TextLayer:
    """Renders the text of a scene with antialiasing.

    Each glyph is sampled from its picture at full, half or quarter size, depending on its size on the image (mipmap).
    """
    count = scene.lines
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    left, top, right, bottom = (lines.region[:, i] for i in range(4))
    inside = [
        (x >= left[t]) & (x < right[t]) & (y >= top[t]) & (y < bottom[t]) & lines.present[t] for t in range(count)
    ]

    def pick(values: Array) -> Array:
        picked = jnp.zeros((scene.height, scene.width), jnp.int32)
        for t in range(count):
            picked = jnp.where(inside[t], values[t], picked)
        return picked

    line = count + pick(jnp.arange(count) - count)
    u, v = _unproject(2 * x + 1 - pick(lines.center[:, 0]), 2 * y + 1 - pick(lines.center[:, 1]), lines, pick)
    stacked = pick(lines.stacked.astype(jnp.int32)) > 0
    cover = _sample(glyphs, _mip_level(lines, glyphs), line, u, v, stacked)
    cover = _adjust_strokes(draws, lines, cover, pick)
    plate, rim = _plates(draws, lines, u, v, pick)
    has_line = line < count
    return TextLayer(line, jnp.where(has_line, cover, 0), jnp.where(has_line, plate, 0), jnp.where(has_line, rim, 0))


def _unproject(x: Array, y: Array, lines: Lines, pick: Pick) -> tuple[Array, Array]:
    """Maps x and y, half pixels from the line's center, to u and v, 1/64 texel."""
    a, b, c, d = (pick(lines.inverse[:, i, j]) for i in (0, 1) for j in (0, 1))
    unit = 2 * DIVISOR_ONE // SUB
    u, v = (a * x + b * y) // unit, (c * x + d * y) // unit
    divisor = DIVISOR_ONE - ((pick(lines.perspective[:, 0]) * u + pick(lines.perspective[:, 1]) * v) >> 8)
    divisor = jnp.maximum(divisor, DIVISOR_ONE // 8)
    limit = 1 << 16  # beyond every line
    u, v = jnp.clip(u, -limit, limit), jnp.clip(v, -limit, limit)
    # Rounding towards zero costs a third of `//`.
    return jax.lax.div(u * DIVISOR_ONE, divisor), jax.lax.div(v * DIVISOR_ONE, divisor)


def _mip_level(lines: Lines, glyphs: Glyphs) -> Array:
    """Returns the level at which each glyph is sampled, i32 [G], 0..2.

    It is chosen so that a pixel spans 0.75 to 1.5 texels where possible.
    """
    scale = lines.scale[jnp.minimum(glyphs.line, len(lines.present) - 1)]
    texels = glyphs.scale * ONE // jnp.maximum(scale, 1)  # of the cell, in a pixel
    return (texels > ONE * 3 // 2).astype(jnp.int32) + (texels > 3 * ONE)


def _pyramid(cells: Array) -> Array:
    """Returns the cells u8 [G, 48, 48] at full, half and quarter size, flattened to u8 [G, 3024]."""
    levels = [cells]
    for _ in range(_LEVELS - 1):
        large = levels[-1].astype(jnp.int32)
        small = (large[:, ::2, ::2] + large[:, 1::2, ::2] + large[:, ::2, 1::2] + large[:, 1::2, 1::2] + 2) >> 2
        levels.append(small.astype(jnp.uint8))
    return jnp.concatenate([level.reshape(len(cells), -1) for level in levels], 1)


def _sample(glyphs: Glyphs, level: Array, line: Array, u: Array, v: Array, stacked: Array) -> Array:
    """Returns the coverage of each pixel, bilinearly interpolated, i32 [H, W] 0..255."""
    start = glyphs.line * LINE_STRIDE + glyphs.start  # [G], on the strip that holds all lines
    order = jnp.argsort(start)
    along = line * LINE_STRIDE + jnp.where(stacked, v, u)
    rank = jnp.zeros_like(line)
    for g in range(len(order)):
        rank += along >= start[order[g]]
    flat = _pyramid(glyphs.cells).reshape(-1)
    side = jnp.asarray(_SIDES)[level]
    table = jnp.stack(
        [
            glyphs.center[:, 0],
            glyphs.center[:, 1],
            glyphs.scale >> level,
            side,
            jnp.arange(len(order)) * int(_OFFSETS[-1]) + jnp.asarray(_OFFSETS)[level],
            glyphs.line,
        ]
    )[:, order]
    glyph = jnp.maximum(rank - 1, 0)
    center_u, center_v, scale, side, offset, glyph_line = (table[i][glyph] for i in range(6))
    # From the center of the cell, at its level. Half a texel is subtracted because texels are sampled at their centers.
    column = (((u - center_u) * scale) >> 12) + side * (SUB // 2) - SUB // 2
    row = (((v - center_v) * scale) >> 12) + side * (SUB // 2) - SUB // 2
    last = side - 1
    inside = (column > 0) & (row > 0) & (column < last * SUB) & (row < last * SUB) & (rank > 0)
    inside &= glyph_line == line  # left of the first glyph of a line, `glyph` is the last one of another line
    c, r = jnp.clip(column >> 6, 0, last - 1), jnp.clip(row >> 6, 0, last - 1)
    at = offset + r * side + c
    right, down = column & (SUB - 1), row & (SUB - 1)

    def texel(step: Array | int) -> Array:
        return flat[at + step].astype(jnp.int32)

    upper = texel(0) * (SUB - right) + texel(1) * right
    lower = texel(side) * (SUB - right) + texel(side + 1) * right
    return jnp.where(inside, (upper * (SUB - down) + lower * down + SUB * SUB // 2) >> 12, 0)


def _adjust_strokes(draws: Draws, lines: Lines, cover: Array, pick: Pick) -> Array:
    """Varies the width of strokes and the sharpness of their edges by a random threshold and gain for each line."""
    count = len(lines.present)
    threshold = jnp.where(lines.handwritten, draws.between(70, 140, count), 128 + draws.triangular(56, count))
    sharpness = jnp.clip(lines.scale, ONE, 4 * ONE) // 16  # an edge spans about a pixel; 256 = unchanged
    # Thin strokes would make small digits illegible.
    is_small = lines.scale * DIGIT_HEIGHT < 20 * ONE
    threshold = jnp.where(is_small, jnp.minimum(threshold, 110), threshold)
    gain = sharpness * draws.between(60, 110, count) // 100
    # With this minimum gain a coverage of 0 stays 0, and 255 stays 255.
    gain = jnp.maximum(gain, 128 * 256 // jnp.minimum(threshold, 255 - threshold) + 1)
    return jnp.clip((((cover - pick(threshold)) * pick(gain)) >> 8) + 128, 0, 255)


def _plates(draws: Draws, lines: Lines, u: Array, v: Array, pick: Pick) -> tuple[Array, Array]:
    """Returns the coverage by a plate behind each line, and by its border, i32 [H, W], 0..255.

    Some plates have cut corners.
    """
    count = len(lines.present)
    border = draws.between(2 * SUB, 5 * SUB, count) * draws.chance(60, count)
    corner = draws.between(0, 14 * SUB, count) * draws.chance(50, count)
    slope = pick(jnp.clip(lines.scale // 64, 8, 256))  # from 0 to 255 within about a pixel
    across, down = pick(lines.plate_extent[:, 0]) - jnp.abs(u), pick(lines.plate_extent[:, 1]) - jnp.abs(v)
    depth = jnp.minimum(jnp.minimum(across, down), (across + down - pick(corner)) * 3 // 4)  # from the edge inwards
    plate = jnp.clip((depth * slope) >> 4, 0, 255)
    inner = jnp.clip(((depth - pick(border)) * slope) >> 4, 0, 255)
    return plate, plate - inner
