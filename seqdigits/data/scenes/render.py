"""Renders one synthetic scene and its labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.data.scenes import corruptions, distractors, misread, natural_backgrounds, views
from seqdigits.data.scenes.background import paint_background, random_colors
from seqdigits.data.scenes.draws import Draws
from seqdigits.data.scenes.layout import DIGIT_HEIGHT, SUB, Glyphs, Lines, Scene, boxes, lay_out
from seqdigits.data.scenes.text import render_text
from seqdigits.data.scenes.views import View
from seqdigits.data.synthetic.deterministic_ops import ONE


def compose_scene(scene: Scene, arrays: dict[str, Array], key: Array) -> tuple[Array, Array, Array, Array]:
    """Returns one scene: image u8 [H, W, C], digits i32 [L], boxes f32 [L, 4], number i32 [L], as in Batch.

    Args:
      scene: the limits of what it may contain.
      arrays: of SceneSource.
      key: of this scene alone.
    """
    draws = Draws(key)
    view = views.draw_view(draws, scene.whole)
    glyphs, lines = lay_out(scene, draws, arrays, view)
    image = _render_image(scene, draws, glyphs, lines, view, arrays)
    window = views.draw_window(draws, view, _first_number(glyphs, lines), scene.width, scene.height)
    left, top, right, bottom = window
    y, x = jnp.arange(scene.height), jnp.arange(scene.width)
    image = image[:, jnp.clip(y, top, bottom - 1)][:, :, jnp.clip(x, left, right - 1)]
    if scene.gray:
        image = (image * jnp.array([77, 150, 29])[:, None, None]).sum(0, keepdims=True) >> 8
    return jnp.moveaxis(image, 0, -1).astype(jnp.uint8), *_labels(scene, glyphs, lines, window)


def _first_number(glyphs: Glyphs, lines: Lines) -> Array:
    """Returns the box of the first number with its separators, i32 [4], left, top, right, bottom, in whole pixels."""
    on_line = (glyphs.line == 0)[:, None]
    edges = boxes(glyphs, lines)
    low = jnp.where(on_line, edges[:, :2], 1 << 20).min(0) // SUB
    high = jnp.where(on_line, edges[:, 2:], -(1 << 20)).max(0) // SUB + 1
    return jnp.concatenate([low, high])


def _labels(scene: Scene, glyphs: Glyphs, lines: Lines, window: Array) -> tuple[Array, Array, Array]:
    """Returns digits, boxes and numbers. Numbers are ordered by the y of their centers, then by x.

    A digit that is cut off at the edge of the window is labeled if most of it is visible; see views.MIN_VISIBLE.
    """
    edges = boxes(glyphs, lines)[: scene.max_length]
    low, high = window[:2] * SUB, window[2:] * SUB
    visible = jnp.clip(edges[:, 2:], low, high) - jnp.clip(edges[:, :2], low, high)
    share = (visible * 128 // jnp.maximum(edges[:, 2:] - edges[:, :2], 1)).prod(-1)
    is_visible = share * 100 >= views.MIN_VISIBLE * 128 * 128
    line_index = jnp.where(is_visible, glyphs.line[: scene.max_length], scene.max_numbers)
    line_index = jnp.minimum(line_index, scene.max_numbers)  # max_numbers = absent
    center = lines.center[: scene.max_numbers]
    sort_key = center[:, 1] * 8192 + center[:, 0]
    absent = ~(line_index[:, None] == jnp.arange(scene.max_numbers)).any(0)
    before = (sort_key[None, :] < sort_key[:, None]) & ~absent[None, :]
    rank = jnp.append(jnp.where(absent, scene.max_numbers, before.sum(1)), scene.max_numbers)[line_index]  # [L]
    order = jnp.argsort(rank, stable=True)
    present = (rank < scene.max_numbers)[order]
    edges = edges[order].astype(jnp.float32) / SUB
    box = jnp.concatenate([(edges[:, :2] + edges[:, 2:]) / 2, edges[:, 2:] - edges[:, :2]], -1)
    digits_ = jnp.where(present, glyphs.digit[: scene.max_length][order], NO_DIGIT)
    return digits_, jnp.where(present[:, None], box, 0.0), jnp.where(present, rank[order], 0)


def _render_image(
    scene: Scene, draws: Draws, glyphs: Glyphs, lines: Lines, view: View, arrays: dict[str, Array]
) -> Array:
    """Returns the image of a scene in color, i32 [3, H, W], 0..255."""
    count = scene.lines
    image, low, high, field = paint_background(scene, draws, lines)
    image, low, high = _paint_view(scene, draws, lines, view, arrays, image, low, high, field)
    # Text on a bright and dark background needs a plate.
    percent = jnp.where((jnp.minimum(255 - high, 255) < 90) & (low < 90), 95, jnp.where(view.is_paper, 12, 40))
    text = render_text(scene, draws, glyphs, lines)
    digit_height = lines.scale * DIGIT_HEIGHT // ONE
    # A plate has a single shade, so the text on it must contrast only with that shade.
    is_number = jnp.arange(count) < scene.max_numbers
    has_plate = draws.chance(jnp.where(is_number, percent, 20), count)
    shade = draws.below(256, count)
    low, high = jnp.where(has_plate, shade, low), jnp.where(has_plate, shade, high)
    colorfulness = jnp.where(draws.chance(60), draws.between(0, 25), draws.between(20, 110))
    plate_colors = random_colors(draws, shade, colorfulness, count)
    rim_colors = random_colors(draws, draws.below(256, count), colorfulness, count)
    text_colors, contrast = _text_colors(draws, low, high, count, digit_height)

    def blend(image: Array, line_colors: Array, cover: Array) -> Array:
        packed = (line_colors * jnp.array([1 << 16, 1 << 8, 1])).sum(-1)
        color = natural_backgrounds.unpacked(jnp.append(packed, 0)[text.line])
        return image + (((color - image) * cover + 128) >> 8)

    on_plate = jnp.append(has_plate, False)[text.line]
    grain = (field * draws.below(60)) >> 8
    image = blend(image, plate_colors, text.plate * on_plate)
    image = blend(image, rim_colors, text.rim * on_plate)
    image = image + grain * on_plate
    # The shadow and the outline are behind the text.
    cover = text.cover
    shadow_x, shadow_y = draws.between(-3, 3), draws.between(0, 3)
    shadow = jnp.roll(jnp.roll(cover, shadow_x, 1), shadow_y, 0)
    depth = draws.between(60, 200) * draws.chance(30)
    image = image - ((image * (shadow * depth >> 8)) >> 8)
    has_outline = draws.chance(9, count) & (digit_height > 20)
    outline = _dilate(cover) * jnp.append(has_outline, False)[text.line]
    image = blend(image, rim_colors, outline)
    image = blend(image, text_colors, cover + (cover >> 7))
    # A relief is light on one side of each stroke and dark on the other.
    relief = draws.between(30, 120) * draws.chance(20)
    image = image + (((cover - shadow) * relief) >> 8)
    if scene.misread:
        is_misread = ~(view.is_cut | view.is_overview) & draws.chance(misread.PERCENT)
        part = misread.cut(draws, arrays["misread"], scene.height, scene.width)
        image = jnp.where(is_misread, part, image)
    is_present = lines.present & is_number
    min_height = jnp.where(is_present, digit_height, 1000).min()
    min_contrast = jnp.where(is_present, contrast, 255).min()
    image = corruptions.add_shadow(scene, draws, jnp.clip(image, 0, 255), min_contrast)
    return corruptions.apply_camera(scene, draws, image, min_height, min_contrast)


def _paint_view(
    scene: Scene,
    draws: Draws,
    lines: Lines,
    view: View,
    arrays: dict[str, Array],
    image: Array,
    low: Array,
    high: Array,
    field: Array,
) -> tuple[Array, Array, Array]:
    """Paints the background of a view: paper, a photograph, or `image`; all but paper with distractors.

    Returns:
      image i32 [3, H, W]; a dark and a bright shade behind each line, i32 [T].
    """
    low, high = jnp.broadcast_to(low, (scene.lines,)), jnp.broadcast_to(high, (scene.lines,))
    if scene.backgrounds:
        photograph = natural_backgrounds.cut(draws, arrays["backgrounds"], scene.height, scene.width)
        is_natural = draws.chance(60)
        shades = natural_backgrounds.shades(photograph, lines.region)
        image = jnp.where(is_natural, photograph, image)
        low, high = jnp.where(is_natural, shades[0], low), jnp.where(is_natural, shades[1], high)
    has_number = view.is_cut | view.is_overview
    image = distractors.add_patches(scene, draws, lines, image, field, jnp.where(has_number, 30, 60))
    page, paper_low, paper_high = distractors.paper(scene, draws, field)
    image = jnp.where(view.is_paper, page, image)
    return image, jnp.where(view.is_paper, paper_low, low), jnp.where(view.is_paper, paper_high, high)


def _dilate(cover: Array) -> Array:
    """Returns the maximum over each pixel and its eight neighbors, i32 [H, W]."""
    return jax.lax.reduce_window(cover, 0, jax.lax.max, (3, 3), (1, 1), "same")


def _text_colors(draws: Draws, low: Array, high: Array, count: int, digit_height: Array) -> tuple[Array, Array]:
    """Draws a color of the text of each line that contrasts with the shades low..high behind it.

    Returns:
      colors i32 [T, 3], 0..255; contrast i32 [T], the least difference in brightness from low..high.
    """
    is_faint = draws.chance(12, count) & (digit_height > 16)
    min_contrast = jnp.where(is_faint, 40, jnp.where(digit_height < 20, 90, 66))
    up, down = 255 - high, low
    lighter = draws.below(up + down, count) < up
    lighter = jnp.where(up < min_contrast, False, jnp.where(down < min_contrast, True, lighter))
    max_contrast = jnp.where(lighter, up, down)
    contrast = min_contrast + draws.below(jnp.maximum(max_contrast - min_contrast, 0) + 1, count)
    contrast = jnp.minimum(contrast, max_contrast)
    contrast = jnp.where(is_faint, jnp.minimum(contrast, 40 + draws.below(30, count)), contrast)
    brightness = jnp.where(lighter, high + contrast, low - contrast)
    colorfulness = jnp.where(draws.chance(65), draws.between(0, 20), draws.between(20, 120))
    return random_colors(draws, brightness, colorfulness, count), contrast
