"""Renders one synthetic scene and its labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.data.scenes import corruptions
from seqdigits.data.scenes.background import paint, shades
from seqdigits.data.scenes.draws import Draws
from seqdigits.data.scenes.layout import ONE, SUB, TALL, Glyphs, Lines, Scene, boxes, lay_out
from seqdigits.data.scenes.text import read_ink


def compose_scene(scene: Scene, arrays: dict[str, Array], key: Array) -> tuple[Array, Array, Array, Array]:
    """One scene: image u8 [H, W, C], digits i32 [L], boxes f32 [L, 4], number i32 [L], as Batch has them.

    Args:
      scene: what it may hold.
      arrays: of SceneSource.
      key: the scene's own.
    """
    draws = Draws(key)
    glyphs, lines = lay_out(scene, draws, arrays)
    image = _paint(scene, draws, glyphs, lines)
    if scene.gray:
        image = (image * jnp.array([77, 150, 29])[:, None, None]).sum(0, keepdims=True) >> 8
    return jnp.moveaxis(image, 0, -1).astype(jnp.uint8), *_labels(scene, glyphs, lines)


def _labels(scene: Scene, glyphs: Glyphs, lines: Lines) -> tuple[Array, Array, Array]:
    """Digits, boxes and numbers; numbers from top to bottom by their middles, of equal ones from left to right."""
    of = jnp.minimum(glyphs.line[: scene.max_length], scene.max_numbers)  # max_numbers = none
    middle = lines.center[: scene.max_numbers]
    height = middle[:, 1] * 8192 + middle[:, 0]
    missing = ~lines.there[: scene.max_numbers]
    before = (height[None, :] < height[:, None]) & ~missing[None, :]
    rank = jnp.append(jnp.where(missing, scene.max_numbers, before.sum(1)), scene.max_numbers)[of]  # [L]
    order = jnp.argsort(rank, stable=True)
    there = (rank < scene.max_numbers)[order]
    edges = boxes(glyphs, lines)[: scene.max_length][order].astype(jnp.float32) / SUB
    box = jnp.concatenate([(edges[:, :2] + edges[:, 2:]) / 2, edges[:, 2:] - edges[:, :2]], -1)
    digits_ = jnp.where(there, glyphs.digit[: scene.max_length][order], NO_DIGIT)
    return digits_, jnp.where(there[:, None], box, 0.0), jnp.where(there, rank[order], 0)


def _paint(scene: Scene, draws: Draws, glyphs: Glyphs, lines: Lines) -> Array:
    """i32 [3, H, W], 0..255."""
    count = scene.lines
    image, low, high, field = paint(scene, draws, lines)
    drawn = read_ink(scene, draws, glyphs, lines)
    tall = lines.scale * TALL // ONE
    # Plates: of one shade, so that ink on them needs only to differ from that.
    number = jnp.arange(count) < scene.max_numbers
    plated = draws.chance(jnp.where(number, 45, 20), count)
    shade = draws.below(256, count)
    low, high = jnp.where(plated, shade, low), jnp.where(plated, shade, high)
    colorful = jnp.where(draws.chance(60), draws.between(0, 25), draws.between(20, 110))
    plates = shades(draws, shade, colorful, count)
    rims = shades(draws, draws.below(256, count), colorful, count)
    inks, contrast = _inks(draws, low, high, count, tall)

    def lay(image: Array, colours: Array, cover: Array) -> Array:
        packed = (colours * jnp.array([1 << 16, 1 << 8, 1])).sum(-1)
        each = jnp.append(packed, 0)[drawn.line]
        color = jnp.stack([each >> 16, (each >> 8) & 255, each & 255])
        return image + (((color - image) * cover + 128) >> 8)

    has_plate = jnp.append(plated, False)[drawn.line]
    grain = (field * draws.below(60)) >> 8
    image = lay(image, plates, drawn.plate * has_plate)
    image = lay(image, rims, drawn.rim * has_plate)
    image = image + grain * has_plate
    # Behind the ink: its shadow, or a rim around it.
    cover = drawn.cover
    shadow_x, shadow_y = draws.between(-3, 3), draws.between(0, 3)
    moved = jnp.roll(jnp.roll(cover, shadow_x, 1), shadow_y, 0)
    depth = draws.between(60, 200) * draws.chance(30)
    image = image - ((image * (moved * depth >> 8)) >> 8)
    outlined = draws.chance(9, count) & (tall > 20)
    around = _widened(cover) * jnp.append(outlined, False)[drawn.line]
    image = lay(image, rims, around)
    image = lay(image, inks, cover + (cover >> 7))
    # A relief: lit from one side, dark on the other.
    relief = draws.between(30, 120) * draws.chance(20)
    image = image + (((cover - moved) * relief) >> 8)
    is_number = lines.there & number
    least = jnp.where(is_number, tall, 1000).min()
    faint = jnp.where(is_number, contrast, 255).min()
    image = corruptions.shade(scene, draws, jnp.clip(image, 0, 255), faint)
    return corruptions.camera(scene, draws, image, least, faint)


def _widened(cover: Array) -> Array:
    """The most of each pixel and its eight neighbors, i32 [H, W]."""
    return jax.lax.reduce_window(cover, 0, jax.lax.max, (3, 3), (1, 1), "same")


def _inks(draws: Draws, low: Array, high: Array, count: int, tall: Array) -> tuple[Array, Array]:
    """Colors of ink, i32 [T, 3], and how far each is from the shades low..high behind it, in brightness, i32 [T]."""
    faint = draws.chance(12, count) & (tall > 16)
    least = jnp.where(faint, 40, jnp.where(tall < 20, 90, 66))
    up, down = 255 - high, low
    lighter = draws.below(up + down, count) < up
    lighter = jnp.where(up < least, False, jnp.where(down < least, True, lighter))
    room = jnp.where(lighter, up, down)
    contrast = jnp.minimum(least + draws.below(jnp.maximum(room - least, 0) + 1, count), room)
    contrast = jnp.where(faint, jnp.minimum(contrast, 40 + draws.below(30, count)), contrast)
    brightness = jnp.where(lighter, high + contrast, low - contrast)
    colorful = jnp.where(draws.chance(65), draws.between(0, 20), draws.between(20, 120))
    return shades(draws, brightness, colorful, count), contrast
