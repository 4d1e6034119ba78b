"""Layout of a scene: which numbers and words it has, and where: lines of glyphs under projective maps.

Each line has its own coordinates with the origin in its middle: u along the line and v downwards, in units of 1/64
texel of the glyph pictures, where a digit is 32 texels high. All maps are in 32-bit fixed point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.data.scenes import pens, separators, skeletons, views
from seqdigits.data.scenes.draws import Draws
from seqdigits.data.scenes.views import View
from seqdigits.data.synthetic.deterministic_ops import COS, ONE, SIN

SUB = 64
"""Subdivisions of a texel, and of a pixel."""
CELL = 48
"""Side of a glyph's square cell, texels; a digit is centered at CELL / 2."""
DIGIT_HEIGHT = 32
"""Height of a digit, texels."""
DIVISOR_ONE = 1 << 14
"""1.0 of the divisor of a projective map."""
LONGEST = 8
"""The maximum number of digits in one number."""
MAX_WORDS, MAX_LETTERS = 2, 4
"""The maximum number of words in a scene, and of letters and signs in a word."""
LINE_STRIDE = 1 << 20
"""Length in u of the segment that each line has on one strip that holds all lines."""
MARGIN = 1
"""Minimum distance between text and the edge of the image, pixels."""
_TRIES = 20


@dataclass(frozen=True)
class Scene:
    """The limits of what a scene may contain.

    Attributes:
      height: of the image, pixels.
      width: of the image, pixels.
      min_length: minimum number of digits in all its numbers together.
      max_length: maximum number of digits in all its numbers together.
      max_numbers: maximum number of numbers.
      min_digit: minimum height of the digits, pixels. Digits are smaller only where a number would not fit otherwise.
      max_digit: maximum height of the digits, pixels.
      gray: whether the image has one channel.
      backgrounds: whether there are natural backgrounds, see natural_backgrounds.
      misread: whether views without a number show parts of them that a reader misread, see misread.
      whole: whether it is a whole picture, whose numbers have any height from min_digit to max_digit, and not a view.
    """

    height: int
    width: int
    min_length: int
    max_length: int
    max_numbers: int
    min_digit: int
    max_digit: int
    gray: bool = False
    backgrounds: bool = False
    misread: bool = False
    whole: bool = False

    @property
    def max_number_length(self) -> int:
        """The maximum number of digits in one number, such that digits of minimum height fit the width."""
        fit = max(1, (self.width - 2 * MARGIN) // self.min_digit)
        return max(self.min_length, min(LONGEST, self.max_length, fit))

    @property
    def lines(self) -> int:
        """T, the number of lines: those of numbers, then those of words."""
        return self.max_numbers + MAX_WORDS


class Glyphs(NamedTuple):
    """Glyphs and their positions on the lines.

    Their order: the digits, one letter attached to the first number, then the letters and signs of the words.

    Attributes:
      cells: u8 [G, 48, 48], coverage.
      line: i32 [G], index of the line; T = the glyph is absent.
      digit: i32 [G], 0..9; arbitrary for a glyph that is not a digit.
      start: i32 [G], where its segment of the line begins, along the line.
      center: i32 [G, 2], u and v of the center of its cell.
      box: i32 [G, 4], left, top, right, bottom of its covered pixels, relative to `center`.
      scale: i32 [G], texels of its cell for each texel of the line, fixed point. Handwriting has fewer.
    """

    cells: Array
    line: Array
    digit: Array
    start: Array
    center: Array
    box: Array
    scale: Array


class Lines(NamedTuple):
    """Positions of the T lines on the image. The values of absent lines are arbitrary.

    Attributes:
      present: bool [T].
      stacked: bool [T], the digits are one below the other.
      handwritten: bool [T].
      matrix: i32 [T, 2, 2], fixed point: pixels = matrix x texels, before the perspective.
      inverse: i32 [T, 2, 2], in units of 1 / DIVISOR_ONE texels a pixel.
      perspective: i32 [T, 2], change of the divisor in units of 1/256 for each 1/64 texel in u and in v.
      center: i32 [T, 2], x and y, half pixels from the corner of the image.
      region: i32 [T, 4], left, top, right, bottom in pixels, right and bottom exclusive. No other line is in it.
      plate_extent: i32 [T, 2], half the width and height of a plate behind the line, in u and v.
      scale: i32 [T], pixels of a texel, fixed point.
    """

    present: Array
    stacked: Array
    handwritten: Array
    matrix: Array
    inverse: Array
    perspective: Array
    center: Array
    region: Array
    plate_extent: Array
    scale: Array


def lay_out(scene: Scene, draws: Draws, arrays: dict[str, Array], view: View) -> tuple[Glyphs, Lines]:
    """Draws the glyphs of a scene and their positions.

    Args:
      scene: its limits.
      draws: its random numbers.
      arrays: of source.SceneSource.
      view: what it shows.
    """
    numbers, count = scene.max_numbers, scene.lines
    lengths, line = _lengths(scene, draws, view)
    percent = jnp.where(view.is_paper, 85, 25)
    handwritten = draws.chance(percent, count) & (jnp.arange(count) < numbers)
    is_tall = scene.max_number_length * scene.min_digit * 4 // 3 > scene.height - 2 * MARGIN
    stacked = draws.chance(0 if is_tall else 8, count) & (lengths > 1)
    cells, digit, box, advance = _glyphs(scene, draws, arrays, line, handwritten, view)
    line_index = jnp.minimum(line, count - 1)
    is_written = handwritten[line_index] & (jnp.arange(len(line)) < scene.max_length)
    size = jnp.where(is_written, views.draw_sizes(draws, count)[line_index], ONE)
    least = jnp.where(draws.chance(30, count), 68, 85)[line_index]
    size = jnp.where(is_written, size * draws.between(least, 100, len(line)) // 100, ONE)
    scale = jnp.where(is_written, int(ONE * pens.DIGIT_HEIGHT / DIGIT_HEIGHT) * ONE // size, ONE)
    box = box * size[:, None] // ONE
    start, center = _space_glyphs(draws, line, box, advance, handwritten, stacked, count)
    glyphs = Glyphs(cells, line, digit, start, center, box, scale)
    lines = _place_lines(scene, draws, glyphs, lengths > 0, stacked, handwritten, view)
    present = jnp.append(lines.present, False)[line]
    return glyphs._replace(line=jnp.where(present, line, count)), lines


def boxes(glyphs: Glyphs, lines: Lines) -> Array:
    """Returns the enclosing box of each glyph on the image, i32 [G, 4], left, top, right, bottom, 1/64 pixel."""
    line_index = jnp.minimum(glyphs.line, len(lines.present) - 1)
    corners = glyphs.center[:, None] + _corners(glyphs.box)  # [G, 4, 2]
    points = _project(corners, lines.matrix[line_index], lines.perspective[line_index])
    points = points + lines.center[line_index][:, None] * (SUB // 2)
    return jnp.concatenate([points.min(1), points.max(1)], -1)


def _lengths(scene: Scene, draws: Draws, view: View) -> tuple[Array, Array]:
    """Returns the number of glyphs of each line, i32 [T], and the line of each glyph, i32 [G]."""
    numbers, max_length = scene.max_numbers, scene.max_number_length
    num_numbers, drawn = views.draw_lengths(draws, view, numbers, max_length, scene.min_length)
    remaining, lengths = jnp.int32(scene.max_length), []
    for n in range(numbers):
        length = jnp.minimum(drawn[n], remaining) * (n < num_numbers)
        lengths.append(length)
        remaining = remaining - length
    ends = jnp.cumsum(jnp.stack(lengths))
    index = jnp.arange(scene.max_length)
    line = (index[:, None] >= ends).sum(1)
    digits = jnp.where(line < numbers, line, scene.lines)
    affix = jnp.where(draws.chance(8), 0, scene.lines)
    percent = jnp.where(view.is_cut | view.is_overview, 45, 70)
    words = draws.below(MAX_LETTERS + 1, MAX_WORDS) * draws.chance(percent, MAX_WORDS)
    is_letter = jnp.arange(MAX_LETTERS) < words[:, None]
    letters = jnp.where(is_letter, numbers + jnp.arange(MAX_WORDS)[:, None], scene.lines).reshape(-1)
    separator = jnp.where(views.draw_separators(draws, view, lengths[0]), 0, scene.lines)
    line = jnp.concatenate([digits, affix[None], letters, separator])
    return jnp.concatenate([jnp.stack(lengths), words]), line


def _glyphs(
    scene: Scene, draws: Draws, arrays: dict[str, Array], line: Array, handwritten: Array, view: View
) -> tuple[Array, Array, Array, Array]:
    """Draws the glyphs of the lines.

    Returns:
      cells u8 [G, 48, 48]; digit i32 [G]; box i32 [G, 4] of the covered pixels, from the center of the cell, 1/64
      texel; advance i32 [G], 1/64 texel.
    """
    length = scene.max_length
    line_index = jnp.minimum(line[:length], scene.lines - 1)
    written = handwritten[line_index]
    chosen = draws.below(arrays["labels"].shape[0], length)
    face = draws.below(arrays["type_digits"].shape[0], scene.lines)[line_index]
    drawn = views.draw_digits(draws, length)
    is_drawn = draws.chance(views.DRAWN, scene.lines)[line_index]
    digit = jnp.where(written, arrays["labels"][chosen], drawn)
    digit = jnp.where(written & is_drawn, views.draw_amount_digits(draws, view, drawn), digit)
    forms = skeletons.draw_digits(draws, digit, line_index, scene.lines)
    is_thin = draws.chance(jnp.where(view.is_paper, 75, 35), scene.lines)
    thinness = draws.between(45, 95, scene.lines) * is_thin
    has_bar = (digit == 7) & ~is_drawn & draws.chance(50, scene.lines)[line_index]
    has_flag = (digit == 1) & ~is_drawn & draws.chance(50, scene.lines)[line_index]
    tiles = jnp.where(is_drawn[:, None, None], forms, arrays["images"][chosen])
    tiles = pens.draw_strokes(tiles, thinness[line_index], has_bar, has_flag)
    pad = (CELL - tiles.shape[-1]) // 2
    written_cells = jnp.pad(tiles, ((0, 0), (pad, pad), (pad, pad)))
    cells = jnp.where(written[:, None, None], written_cells, arrays["type_digits"][face, digit])
    covered = tiles > 64  # about the minimum threshold of handwritten strokes, see text._adjust_strokes
    columns, rows = (_extent(covered.any(axis)) for axis in (1, 2))
    side = tiles.shape[-1]
    edges = jnp.stack([columns[0], rows[0], columns[1], rows[1]], -1) - side // 2
    written_box = edges * round(SUB * DIGIT_HEIGHT * 7 / pens.DIGIT_HEIGHT) // 7
    type_box = (arrays["type_boxes"][face, digit] - CELL // 2) * SUB
    box = jnp.where(written[:, None], written_box, type_box)
    other = draws.below(arrays["others"].shape[0], len(line) - length)
    other_cells, other_box = arrays["others"][other], arrays["other_boxes"][other]
    separator = draws.below(len(separators.CELLS), separators.COUNT)
    other_cells = other_cells.at[-separators.COUNT :].set(jnp.asarray(separators.CELLS)[separator])
    other_box = other_box.at[-separators.COUNT :].set(jnp.asarray(separators.BOXES)[separator])
    other_box = (other_box - CELL // 2) * SUB
    box = jnp.concatenate([box, other_box])
    width = box[:, 2] - box[:, 0]
    advance = jnp.where(written, 0, arrays["type_advances"][face, digit] * SUB)
    advance = jnp.maximum(jnp.append(advance, jnp.zeros(len(line) - length, jnp.int32)), width)
    digit = jnp.append(digit, jnp.zeros(len(line) - length, jnp.int32))
    return jnp.concatenate([cells, other_cells]), digit, box, advance


def _extent(mask: Array) -> tuple[Array, Array]:
    """Returns the first true index of bool [..., S] and the last one + 1, i32 [...]; 0 and S if none is true."""
    side = mask.shape[-1]
    return jnp.argmax(mask, -1).astype(jnp.int32), (side - jnp.argmax(mask[..., ::-1], -1)).astype(jnp.int32)


def _space_glyphs(
    draws: Draws,
    line: Array,
    box: Array,
    advance: Array,
    handwritten: Array,
    stacked: Array,
    count: int,
) -> tuple[Array, Array]:
    """Places the glyphs one after the other on their lines: returns Glyphs.start and Glyphs.center."""
    line_index = jnp.minimum(line, count - 1)
    is_stacked = stacked[line_index]
    width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    narrow = jnp.where(handwritten, draws.between(-2 * SUB, 7 * SUB, count), draws.between(-SUB, 7 * SUB, count))
    gap = jnp.where(draws.chance(18, count), draws.between(7 * SUB, 20 * SUB, count), narrow)
    gap = jnp.where(stacked, jnp.maximum(gap, 2 * SUB), gap)[line_index]
    # Some lines of type are spaced by the advances of the face, all others by the boxes of their glyphs.
    by_advance = draws.chance(50, count)[line_index] & ~is_stacked & ~handwritten[line_index]
    space = jnp.where(by_advance, advance + gap // 2, jnp.where(is_stacked, height, width) + gap)
    is_affix = jnp.arange(len(line)) == len(line) - 1 - MAX_LETTERS * MAX_WORDS - separators.COUNT
    affix_first = draws.chance(30)
    # The order along a line is that of the glyphs, except for the letter that may precede the first number, and separators.
    order = 2 * (jnp.arange(len(line)) - is_affix * affix_first * len(line))
    digits_before = (line == 0).sum() - (line[-separators.COUNT :] == 0).sum() - (is_affix & (line == 0)).sum()
    order = order.at[-separators.COUNT :].set(2 * (digits_before - jnp.array(separators.DIGITS_AFTER)) - 1)
    same_line = (line[:, None] == line[None, :]) & (line < count)[:, None]  # [G, G]
    begin = jnp.where(same_line & (order[None, :] < order[:, None]), space[None, :], 0).sum(1)
    total = jnp.where(same_line, space[None, :], 0).sum(1)
    start = begin - total // 2
    bounce = draws.triangular(3 * SUB, len(line)) * handwritten[line_index]
    along = start + jnp.where(by_advance, space // 2, gap // 2 - jnp.where(is_stacked, box[:, 1], box[:, 0]))
    across = jnp.where(is_stacked, -(box[:, 0] + box[:, 2]) // 2, bounce)
    center = jnp.where(is_stacked[:, None], jnp.stack([across, along], -1), jnp.stack([along, across], -1))
    return start, center


def _place_lines(
    scene: Scene,
    draws: Draws,
    glyphs: Glyphs,
    present: Array,
    stacked: Array,
    handwritten: Array,
    view: View,
) -> Lines:
    """Draws the map and the position of each line on the image.

    A line for which no free position is found is dropped.
    """
    count = scene.lines
    is_cut = (jnp.arange(count) == 0) & view.is_cut  # the number in the middle of a cut
    on_line = glyphs.line[None, :] == jnp.arange(count)[:, None]  # [T, G]
    low = jnp.where(on_line[..., None], (glyphs.center + glyphs.box[:, :2])[None], LINE_STRIDE).min(1)
    high = jnp.where(on_line[..., None], (glyphs.center + glyphs.box[:, 2:])[None], -LINE_STRIDE).max(1)
    extent = jnp.where(present[:, None], jnp.maximum(-low, high), SUB)  # [T, 2], half of width and height
    degrees = draws.triangular(9, count)
    degrees = jnp.where(draws.chance(25, count), draws.between(-15, 15, count), degrees)
    degrees = jnp.where(draws.chance(7, count), draws.between(-40, 40, count), degrees)
    cos, sin = jnp.asarray(COS)[degrees + 45], jnp.asarray(SIN)[degrees + 45]
    shear = draws.triangular(ONE // 4, count)
    shear = jnp.where(handwritten, views.draw_slant(draws, count), shear)
    limit = min(scene.max_digit, scene.height - 2 * MARGIN)
    is_word = jnp.arange(count) >= scene.max_numbers
    wanted_height = views.draw_heights(draws, view, (scene.min_digit, limit), is_word, scene.whole)
    stretch = _stretch(draws, count)
    linear = jnp.stack(
        [
            jnp.stack([cos * stretch // ONE, (cos * shear - sin * ONE) // ONE], -1),
            jnp.stack([sin * stretch // ONE, (sin * shear + cos * ONE) // ONE], -1),
        ],
        -2,
    )  # [T, 2, 2]: rotation x (stretch, shear)
    tilt = draws.triangular(DIVISOR_ONE // 6, count, 2) * draws.chance(45, count)[:, None]
    tilt = tilt.at[:, 1].set(tilt[:, 1] // 2)
    perspective = tilt * 256 // jnp.maximum(extent, SUB)
    # The span of each line when a texel is as large as a pixel gives the largest scale at which it fits the image.
    corners = (glyphs.center[:, None] + _corners(glyphs.box))[None]  # [1, G, 4, 2]
    spans = jax.vmap(lambda m, p: _project(corners[0], m[None], p[None]))(linear, perspective)  # [T, G, 4, 2]
    low = jnp.where(on_line[..., None, None], spans, LINE_STRIDE).min((1, 2))
    high = jnp.where(on_line[..., None, None], spans, -LINE_STRIDE).max((1, 2))
    span = jnp.where(present[:, None], high - low, SUB)
    available = jnp.array([scene.width, scene.height]) - 2 * MARGIN - 1
    max_scale = (available * SUB * ONE // jnp.maximum(span, 1)).min(-1)
    scale = jnp.minimum(wanted_height * (ONE // DIGIT_HEIGHT), max_scale)  # [T]
    matrix = linear * scale[:, None, None] // ONE
    inverse = _inverse(cos, sin, shear, stretch, scale)
    low, high = (edge * scale[:, None] // ONE for edge in (low, high))  # [T, 2], 1/64 pixel from the center
    pad = jnp.where(is_cut[:, None], draws.between(5, 12, count, 2), draws.between(13, 22, count, 2)) * SUB
    plate_extent = extent + pad
    outer = _project(_corners(jnp.concatenate([-plate_extent, plate_extent], -1)), matrix, perspective)  # [T, 4, 2]
    around = jnp.stack([outer.min(1), outer.max(1)], 1) // SUB + jnp.array([-1, 2])[:, None]  # [T, 2, 2] pixels
    center, region, present = _choose_positions(scene, draws, low, high, around, present, is_cut, view)
    return Lines(present, stacked, handwritten, matrix, inverse, perspective, center, region, plate_extent, scale)


def _stretch(draws: Draws, count: int) -> Array:
    """Draws horizontal stretches of 0.7..1.4, symmetric around 1 on a log scale, fixed point i32 [T]."""
    table = np.round(ONE * 2 ** (np.arange(-128, 129) / 256)).astype(np.int32)
    return jnp.asarray(table)[draws.triangular(128, count) + 128]


def _inverse(cos: Array, sin: Array, shear: Array, stretch: Array, scale: Array) -> Array:
    """Returns the inverse of the scaled linear map, i32 [T, 2, 2], in units of 1 / DIVISOR_ONE texels a pixel."""
    down = jnp.stack([-sin, cos], -1)  # [T, 2], of v
    along = jnp.stack([cos, sin], -1) - shear[:, None] * down // ONE
    along = along * ONE // stretch[:, None]
    rows = jnp.stack([along, down], -2)
    return rows * DIVISOR_ONE // scale[:, None, None]


def _corners(edges: Array) -> Array:
    """Returns the corners, i32 [..., 4, 2], of boxes i32 [..., 4], left, top, right, bottom."""
    left, top, right, bottom = (edges[..., i] for i in range(4))
    return jnp.stack([jnp.stack(p, -1) for p in ((left, top), (right, top), (left, bottom), (right, bottom))], -2)


def _project(points: Array, matrix: Array, perspective: Array) -> Array:
    """Maps points of lines to the image.

    Args:
      points: u, v, i32 [K, P, 2].
      matrix: i32 [K or 1, 2, 2], see Lines.
      perspective: i32 [K or 1, 2], see Lines.

    Returns:
      x, y relative to the line's center, 1/64 pixel, i32 [K, P, 2].
    """
    divisor = DIVISOR_ONE + (points * perspective[:, None] // 256).sum(-1, keepdims=True)
    points = points * DIVISOR_ONE // divisor
    return (points[..., None, :] * matrix[:, None]).sum(-1) // ONE


def _choose_positions(
    scene: Scene,
    draws: Draws,
    low: Array,
    high: Array,
    around: Array,
    present: Array,
    is_cut: Array,
    view: View,
) -> tuple[Array, Array, Array]:
    """Draws a position for each line whose region overlaps that of no earlier line.

    Returns:
      center i32 [T, 2] and region i32 [T, 4], see Lines; and whether a free position was found, bool [T].
    """
    count = scene.lines
    size = jnp.array([scene.width, scene.height])
    min_center = -(low // SUB) + MARGIN  # whole pixels, such that the text is inside the image
    max_center = jnp.maximum(size - MARGIN - 1 - high // SUB, min_center)
    middle = (min_center + max_center) // 2
    overhang = views.draw_overhang(draws, view, (high - low) // SUB) * (not scene.whole)
    min_center, max_center = min_center - overhang, max_center + overhang
    tries = draws.between(min_center, max_center, _TRIES, count, 2)
    shift = views.draw_shift(draws, jnp.broadcast_to((high - low)[0, 1] // (2 * SUB), (_TRIES,)))
    central = jnp.clip(middle + shift[:, None], min_center, max_center)
    tries = jnp.where(is_cut[:, None], central, tries)  # [tries, T, 2]
    centers: list[Array] = []
    regions: list[Array] = []
    placed: list[Array] = []
    for t in range(count):
        region = jnp.concatenate([tries[:, t] + around[t, 0], tries[:, t] + around[t, 1]], -1)  # [tries, 4]
        free = jnp.ones(_TRIES, bool)
        for other, is_placed in zip(regions, placed, strict=True):
            disjoint = (region[:, :2] >= other[2:]).any(-1) | (region[:, 2:] <= other[:2]).any(-1)
            free &= disjoint | ~is_placed
        chosen = jnp.argmax(free)
        centers.append(2 * tries[chosen, t])
        regions.append(region[chosen])
        placed.append(present[t] & free[chosen])
    return jnp.stack(centers), jnp.stack(regions), jnp.stack(placed)
