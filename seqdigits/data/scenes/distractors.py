"""Distractors of scenes: paper with lines, and patches with patterns that resemble digits in part."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqdigits.data.scenes.background import random_colors
from seqdigits.data.scenes.draws import Draws
from seqdigits.data.scenes.layout import Lines, Scene

PATCHES = 2


def paper(scene: Scene, draws: Draws, field: Array) -> tuple[Array, Array, Array]:
    """Paints paper: plain, ruled, with a grid, with boxes, or with the wavy lines or dots of a cheque.

    Args:
      scene: its size.
      draws: its random numbers.
      field: i32 [H, W], noise within -128..127.

    Returns:
      image i32 [3, H, W], 0..255; the darkest and the brightest shade behind numbers, i32 [].
    """
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    shade = draws.between(120, 250)
    color = random_colors(draws, shade[None], draws.between(0, 30), 1)[0]
    image = color[:, None, None] + ((field * draws.below(24)) >> 7)
    # 0 plain, 1 ruled, 2 grid, 3 boxes, 4 wavy lines, 5 dots; cheques have the last two.
    kind = jnp.array([0, 1, 2, 3, 4, 4, 4, 5, 5])[draws.below(9)]
    period = draws.between(5, 36) << 8
    slope = draws.triangular(24)
    thickness = draws.between(80, 330)  # 1/256 pixel
    depth = draws.between(15, 110)
    line_color = random_colors(draws, jnp.maximum(shade - depth, 0)[None], draws.between(0, 90), 1)[0]

    def rule(along: Array, across: Array, period: Array) -> Array:
        distance = jnp.abs((((across << 8) + slope * along + draws.below(period)) % period) - period // 2)
        return jnp.clip(thickness - distance, 0, 255)

    rows, columns = rule(x, y, period), rule(y, x, period)
    boxes = jnp.maximum(rule(x, y, period * 3), rule(y, x, period * draws.between(2, 8)))
    frequency = draws.between(6, 24)
    phase = (field * draws.between(1, 6) * 64 // frequency + (x * draws.triangular(96) + y * 64)) * 4
    wave = jnp.clip(200 - jnp.abs(phase % (frequency * 64) - frequency * 32) * 4, 0, 255) * 3 // 4
    dot = (rule(x, y, jnp.int32(3 << 8)) * rule(y, x, jnp.int32(3 << 8))) >> 8
    covers = [jnp.zeros_like(rows), rows, jnp.maximum(rows, columns), boxes, wave, dot]
    cover = covers[0]
    for i, one in enumerate(covers):
        cover = jnp.where(kind == i, one, cover)
    image = image + (((line_color[:, None, None] - image) * cover) >> 8)
    return jnp.clip(image, 0, 255), shade - jnp.where(kind > 0, depth // 2, 0), shade


def add_patches(scene: Scene, draws: Draws, lines: Lines, image: Array, field: Array, percent: Array) -> Array:
    """Paints patches with bars of random widths, windows, rings, leaves, or bricks. None overlaps with a line.

    Args:
      scene: its size.
      draws: its random numbers.
      lines: of the scene.
      image: i32 [3, H, W], 0..255.
      field: i32 [H, W], noise within -128..127.
      percent: chance of each patch, i32 [].
    """
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    for _ in range(PATCHES):
        size = jnp.stack([draws.between(8, scene.width), draws.between(8, scene.height)])
        low = draws.between(-size // 2, jnp.array([scene.width, scene.height]) - size // 2, 2)
        high = low + size
        overlaps = ((high > lines.region[:, :2]) & (low < lines.region[:, 2:])).all(-1) & lines.present
        present = draws.chance(percent) & ~overlaps.any()
        colors = random_colors(draws, draws.below(256, 2), jnp.where(draws.chance(60), 20, 90), 2)
        u, v = x - low[0], y - low[1] + ((draws.triangular(40) * (x - low[0])) >> 8)
        unit = draws.between(1, 6)
        kind = draws.below(6)
        salt = draws.below(1 << 16)
        column = (u // unit) * 0x9E37 + salt
        bars = ((column ^ (column >> 7)) >> 4) & 1  # as a barcode
        pitch = unit * draws.between(3, 7)
        pane = jnp.minimum(jnp.minimum(u % pitch, v % pitch), 255) < jnp.maximum(unit // 2, 1)  # windows, a grid
        center = low + size // 2
        radius = (x - center[0]) ** 2 + (y - center[1]) ** 2
        outer = jnp.maximum(size.min() // 2, 3)
        inner = jnp.maximum(outer - unit, 1)
        ring = (radius < outer**2) & (radius >= inner**2)
        disc = radius < outer**2
        leaves = ((field * draws.between(3, 20)) >> 5) & 1
        course = v // pitch
        shift = (course & 1) * pitch
        brick = (v % pitch < jnp.maximum(unit // 2, 1)) | ((u + shift) % (2 * pitch) < jnp.maximum(unit // 2, 1))
        patterns = [bars > 0, pane, ring, disc & ~ring, leaves > 0, brick]
        is_on = jnp.zeros_like(patterns[1])
        for i, one in enumerate(patterns):
            is_on = jnp.where(kind == i, one, is_on)
        inside = (x >= low[0]) & (x < high[0]) & (y >= low[1]) & (y < high[1]) & present
        is_round = (kind == 2) | (kind == 3)
        opacity = jnp.where(inside & (is_on | ~is_round), draws.between(120, 256), 0)
        color = jnp.where(is_on, colors[0][:, None, None], colors[1][:, None, None])
        color = color + ((field * draws.below(40)) >> 8)
        image = image + (((color - image) * opacity) >> 8)
    return jnp.clip(image, 0, 255)
