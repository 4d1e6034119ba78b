"""How much ink lies on each pixel of a scene: lines of glyphs read through one projective map a pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.data.scenes.draws import Draws
from seqdigits.data.scenes.layout import CELL, FAR, ONE, SUB, TALL, WEIGHT, Glyphs, Lines, Scene

_LEVELS = 3
_SIDES = np.array([CELL >> level for level in range(_LEVELS)], np.int32)
_BASES = np.concatenate([[0], np.cumsum(_SIDES**2)]).astype(np.int32)

Pick = Callable[[Array], Array]
"""Of values i32 [T] that of each pixel's line, i32 [H, W]; 0 where none is."""


class Ink(NamedTuple):
    """What the lines leave on the image.

    Attributes:
      line: i32 [H, W], whose region a pixel is in; T = none.
      cover: i32 [H, W], ink, 0..255.
      plate: i32 [H, W], coverage of a plate behind the line, 0..255.
      rim: i32 [H, W], of the plate's border, 0..255.
    """

    line: Array
    cover: Array
    plate: Array
    rim: Array


def read_ink(scene: Scene, draws: Draws, glyphs: Glyphs, lines: Lines) -> Ink:
    """The ink of a scene, antialiased: from squares at full, half or quarter size, whichever is near the size on the image."""
    count = scene.lines
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    left, top, right, bottom = (lines.region[:, i] for i in range(4))
    inside = [(x >= left[t]) & (x < right[t]) & (y >= top[t]) & (y < bottom[t]) & lines.there[t] for t in range(count)]

    def pick(values: Array) -> Array:
        picked = jnp.zeros((scene.height, scene.width), jnp.int32)
        for t in range(count):
            picked = jnp.where(inside[t], values[t], picked)
        return picked

    line = count + pick(jnp.arange(count) - count)
    u, v = _unmap(2 * x + 1 - pick(lines.center[:, 0]), 2 * y + 1 - pick(lines.center[:, 1]), lines, pick)
    stacked = pick(lines.stacked.astype(jnp.int32)) > 0
    cover = _sample(glyphs, _level(lines, glyphs), line, u, v, stacked)
    cover = _weigh(draws, lines, cover, pick)
    plate, rim = _plate(draws, lines, u, v, pick)
    is_in = line < count
    return Ink(line, jnp.where(is_in, cover, 0), jnp.where(is_in, plate, 0), jnp.where(is_in, rim, 0))


def _unmap(x: Array, y: Array, lines: Lines, pick: Pick) -> tuple[Array, Array]:
    """From half pixels from the center to u and v, 1/64 texel."""
    a, b, c, d = (pick(lines.inverse[:, i, j]) for i in (0, 1) for j in (0, 1))
    fine = 2 * WEIGHT // SUB
    u, v = (a * x + b * y) // fine, (c * x + d * y) // fine
    divisor = WEIGHT - ((pick(lines.bend[:, 0]) * u + pick(lines.bend[:, 1]) * v) >> 8)
    divisor = jnp.maximum(divisor, WEIGHT // 8)
    limit = 1 << 16  # beyond every line
    u, v = jnp.clip(u, -limit, limit), jnp.clip(v, -limit, limit)
    # Rounded towards zero: a third of the cost of `//`.
    return jax.lax.div(u * WEIGHT, divisor), jax.lax.div(v * WEIGHT, divisor)


def _level(lines: Lines, glyphs: Glyphs) -> Array:
    """Which size each glyph is read at, i32 [G]: so that a pixel spans 0.75 to 1.5 texels where that is possible."""
    scale = lines.scale[jnp.minimum(glyphs.line, len(lines.there) - 1)]
    texels = glyphs.scale * ONE // jnp.maximum(scale, 1)  # of the cell, in a pixel
    return (texels > ONE * 3 // 2).astype(jnp.int32) + (texels > 3 * ONE)


def _pyramid(cells: Array) -> Array:
    """u8 [G, 48, 48] -> u8 [G, 3024]: at full, half and quarter size."""
    levels = [cells]
    for _ in range(_LEVELS - 1):
        big = levels[-1].astype(jnp.int32)
        small = (big[:, ::2, ::2] + big[:, 1::2, ::2] + big[:, ::2, 1::2] + big[:, 1::2, 1::2] + 2) >> 2
        levels.append(small.astype(jnp.uint8))
    return jnp.concatenate([level.reshape(len(cells), -1) for level in levels], 1)


def _sample(glyphs: Glyphs, level: Array, line: Array, u: Array, v: Array, stacked: Array) -> Array:
    """Coverage at each pixel, bilinear, i32 [H, W] 0..255."""
    start = glyphs.line * FAR + glyphs.start  # [G], on the strip of all lines
    order = jnp.argsort(start)
    along = line * FAR + jnp.where(stacked, v, u)
    rank = jnp.zeros_like(line)
    for g in range(len(order)):
        rank += along >= start[order[g]]
    flat = _pyramid(glyphs.cells).reshape(-1)
    side = jnp.asarray(_SIDES)[level]
    table = jnp.stack(
        [
            glyphs.middle[:, 0],
            glyphs.middle[:, 1],
            glyphs.scale >> level,
            side,
            jnp.arange(len(order)) * int(_BASES[-1]) + jnp.asarray(_BASES)[level],
            glyphs.line,
        ]
    )[:, order]
    glyph = jnp.maximum(rank - 1, 0)
    middle_u, middle_v, scale, side, base, owner = (table[i][glyph] for i in range(6))
    # From the middle of the cell, at its level; half a texel back, for the middle of a texel is its place.
    column = (((u - middle_u) * scale) >> 12) + side * (SUB // 2) - SUB // 2
    row = (((v - middle_v) * scale) >> 12) + side * (SUB // 2) - SUB // 2
    last = side - 1
    there = (column > 0) & (row > 0) & (column < last * SUB) & (row < last * SUB) & (rank > 0)
    there &= owner == line  # before the first glyph of a line stands the last one of another
    c, r = jnp.clip(column >> 6, 0, last - 1), jnp.clip(row >> 6, 0, last - 1)
    at = base + r * side + c
    right, down = column & (SUB - 1), row & (SUB - 1)

    def texel(offset: Array | int) -> Array:
        return flat[at + offset].astype(jnp.int32)

    upper = texel(0) * (SUB - right) + texel(1) * right
    lower = texel(side) * (SUB - right) + texel(side + 1) * right
    return jnp.where(there, (upper * (SUB - down) + lower * down + SUB * SUB // 2) >> 12, 0)


def _weigh(draws: Draws, lines: Lines, cover: Array, pick: Pick) -> Array:
    """Thicker or thinner strokes, with sharper or softer edges: a threshold and a gain."""
    count = len(lines.there)
    threshold = jnp.where(lines.hand, draws.between(70, 140, count), 128 + draws.about(56, count))
    sharp = jnp.clip(lines.scale, ONE, 4 * ONE) // 16  # as sharp as the edge of a pixel: 256 = as it is
    # Small strokes must not be thin.
    small = lines.scale * TALL < 20 * ONE
    threshold = jnp.where(small, jnp.minimum(threshold, 110), threshold)
    gain = sharp * draws.between(60, 110, count) // 100
    # At least so much that no ink stays none, and full ink full.
    gain = jnp.maximum(gain, 128 * 256 // jnp.minimum(threshold, 255 - threshold) + 1)
    return jnp.clip((((cover - pick(threshold)) * pick(gain)) >> 8) + 128, 0, 255)


def _plate(draws: Draws, lines: Lines, u: Array, v: Array, pick: Pick) -> tuple[Array, Array]:
    """A rectangle behind each line with corners cut or not, and its border."""
    count = len(lines.there)
    border = draws.between(2 * SUB, 5 * SUB, count) * draws.chance(60, count)
    corner = draws.between(0, 14 * SUB, count) * draws.chance(50, count)
    slope = pick(jnp.clip(lines.scale // 64, 8, 256))  # 255 in about a pixel
    across, down = pick(lines.plate[:, 0]) - jnp.abs(u), pick(lines.plate[:, 1]) - jnp.abs(v)
    depth = jnp.minimum(jnp.minimum(across, down), (across + down - pick(corner)) * 3 // 4)  # from the edge inwards
    plate = jnp.clip((depth * slope) >> 4, 0, 255)
    inner = jnp.clip(((depth - pick(border)) * slope) >> 4, 0, 255)
    return plate, plate - inner
