"""Which numbers and words a scene has, and where: lines of glyphs, each put on the image by a projective map.

A line has coordinates of its own: u along it, v downwards, from its middle, in 1/64 of a texel of the atlas (a digit is 32
texels high). All maps are in fixed point and 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.data.scenes.draws import Draws

ONE = 4096
SUB = 64
"""Parts of a texel, and of a pixel."""
CELL = 48
"""Side of a glyph's square, texels; the middle of a digit lies at CELL / 2."""
TALL = 32
"""Height of a digit, texels."""
WEIGHT = 1 << 14
"""1.0 of the divisor of a projective map."""
LONGEST = 6
"""Digits of a number, at most."""
WORDS, LETTERS = 2, 4
"""Words of a scene, and signs of a word, at most."""
FAR = 1 << 20
"""Each line has a piece of this length, in u, of one strip that all lines are on."""
MARGIN = 1
"""Pixels between ink and the edge of the image."""
_TRIES = 20

_ANGLES = np.deg2rad(np.arange(-45, 46))
_COS, _SIN = (np.round(f(_ANGLES) * ONE).astype(np.int32) for f in (np.cos, np.sin))


@dataclass(frozen=True)
class Scene:
    """What a scene may hold.

    Attributes:
      height, width: of the image, pixels.
      min_length, max_length: digits of all its numbers together.
      max_numbers: numbers, at most.
      min_digit, max_digit: height of the digits, pixels; less only where a number would not fit otherwise.
      gray: whether the image has one channel.
    """

    height: int
    width: int
    min_length: int
    max_length: int
    max_numbers: int
    min_digit: int
    max_digit: int
    gray: bool = False

    @property
    def longest(self) -> int:
        """Digits of one number, at most: so many that it fits the width with digits of the least height."""
        fit = max(1, (self.width - 2 * MARGIN) // self.min_digit)
        return max(self.min_length, min(LONGEST, self.max_length, fit))

    @property
    def lines(self) -> int:
        """T: numbers, then words."""
        return self.max_numbers + WORDS


class Glyphs(NamedTuple):
    """What stands where on the lines; digits first, then a letter beside the first number, then those of words.

    Attributes:
      cells: u8 [G, 48, 48], coverage.
      line: i32 [G], T where there is none.
      digit: i32 [G], 0..9, of any value for what is not a digit.
      start: i32 [G], where its piece of the line begins, along the line.
      middle: i32 [G, 2], u and v of the middle of its cell.
      ink: i32 [G, 4], its ink's left, top, right, bottom from there.
      scale: i32 [G], texels of its cell in a texel of the line, fixed point: handwriting has fewer.
    """

    cells: Array
    line: Array
    digit: Array
    start: Array
    middle: Array
    ink: Array
    scale: Array


class Lines(NamedTuple):
    """How lines lie on the image; T lines, absent ones of any value.

    Attributes:
      there: bool [T].
      stacked: bool [T], digits one below the other.
      hand: bool [T], handwriting.
      matrix: i32 [T, 2, 2], fixed point: pixels = matrix x texels, before the perspective.
      inverse: i32 [T, 2, 2], 1 / WEIGHT texels a pixel.
      bend: i32 [T, 2]: the divisor changes by so much / 256 for each 1/64 texel in u and v.
      center: i32 [T, 2], x and y, half pixels from the corner of the image.
      region: i32 [T, 4], left, top, right, bottom in pixels, right and bottom exclusive: nothing else stands there.
      plate: i32 [T, 2], half the width and height of a plate that fits it, in u and v.
      scale: i32 [T], pixels of a texel, fixed point.
    """

    there: Array
    stacked: Array
    hand: Array
    matrix: Array
    inverse: Array
    bend: Array
    center: Array
    region: Array
    plate: Array
    scale: Array


def lay_out(scene: Scene, draws: Draws, arrays: dict[str, Array]) -> tuple[Glyphs, Lines]:
    """Draws the glyphs of a scene and their places. `arrays`: see source.SceneSource."""
    numbers, count = scene.max_numbers, scene.lines
    large = draws.chance(50)  # one number that fills much of the image, as photographs of house numbers are cropped
    lengths, line = _lengths(scene, draws, large)
    hand = draws.chance(42, count) & (jnp.arange(count) < numbers)
    tall = scene.longest * scene.min_digit * 4 // 3 > scene.height - 2 * MARGIN
    stacked = draws.chance(0 if tall else 8, count) & (lengths > 1)
    cells, digit, ink, advance = _glyphs(scene, draws, arrays, line, hand)
    of = jnp.minimum(line, count - 1)
    scale = jnp.where(hand[of] & (jnp.arange(len(line)) < scene.max_length), ONE * 20 // TALL, ONE)
    start, middle = _spread(draws, line, ink, advance, hand, stacked, count)
    glyphs = Glyphs(cells, line, digit, start, middle, ink, scale)
    lines = _place(scene, draws, glyphs, lengths > 0, stacked, hand, large)
    there = jnp.append(lines.there, False)[line]
    return glyphs._replace(line=jnp.where(there, line, count)), lines


def boxes(glyphs: Glyphs, lines: Lines) -> Array:
    """i32 [G, 4], left, top, right, bottom of each glyph's ink on the image, 1/64 pixel."""
    of = jnp.minimum(glyphs.line, len(lines.there) - 1)
    corners = glyphs.middle[:, None] + _corners(glyphs.ink)  # [G, 4, 2]
    at = _forward(corners, lines.matrix[of], lines.bend[of])
    at = at + lines.center[of][:, None] * (SUB // 2)
    return jnp.concatenate([at.min(1), at.max(1)], -1)


def _lengths(scene: Scene, draws: Draws, large: Array) -> tuple[Array, Array]:
    """How many glyphs each line has, i32 [T], and the line of each glyph, i32 [G]."""
    numbers = scene.max_numbers
    several = draws.chance(60) & ~large
    wanted = jnp.where(several, draws.between(2, numbers), 1)
    drawn = draws.between(1, jnp.where(draws.chance(70, numbers), min(3, scene.longest), scene.longest), numbers)
    # House numbers of two and three digits are the most frequent.
    house = jnp.asarray(np.repeat(np.arange(1, 6), (15, 36, 27, 14, 8)))[draws.below(100)]
    single = jnp.where(large, house, draws.between(1, scene.longest))
    first = jnp.clip(jnp.where(several, drawn[0], single), scene.min_length, scene.longest)
    left, lengths = jnp.int32(scene.max_length), []
    for n in range(numbers):
        length = jnp.minimum(first if n == 0 else drawn[n], left) * (n < wanted)
        lengths.append(length)
        left = left - length
    ends = jnp.cumsum(jnp.stack(lengths))
    place = jnp.arange(scene.max_length)
    line = (place[:, None] >= ends).sum(1)
    digits = jnp.where(line < numbers, line, scene.lines)
    affix = jnp.where(draws.chance(8), 0, scene.lines)
    words = draws.below(LETTERS + 1, WORDS) * draws.chance(45, WORDS)
    spelled = jnp.arange(LETTERS) < words[:, None]
    letters = jnp.where(spelled, numbers + jnp.arange(WORDS)[:, None], scene.lines).reshape(-1)
    line = jnp.concatenate([digits, affix[None], letters])
    return jnp.concatenate([jnp.stack(lengths), words]), line


def _glyphs(
    scene: Scene, draws: Draws, arrays: dict[str, Array], line: Array, hand: Array
) -> tuple[Array, Array, Array, Array]:
    """cells u8 [G, 48, 48], digit i32 [G], ink i32 [G, 4] from the middle, 1/64 texel, and advance i32 [G], the same."""
    length = scene.max_length
    of = jnp.minimum(line[:length], scene.lines - 1)
    written = hand[of]
    chosen = draws.below(arrays["labels"].shape[0], length)
    face = draws.below(arrays["type_digits"].shape[0], scene.lines)[of]
    digit = jnp.where(written, arrays["labels"][chosen], draws.below(10, length))
    tiles = arrays["images"][chosen]  # [L, 28, 28]
    pad = (CELL - tiles.shape[-1]) // 2
    written_cells = jnp.pad(tiles, ((0, 0), (pad, pad), (pad, pad)))
    cells = jnp.where(written[:, None, None], written_cells, arrays["type_digits"][face, digit])
    dark = tiles > 64  # about where the least threshold of its strokes is; see ink
    columns, rows = (_extent(dark.any(axis)) for axis in (1, 2))
    side = tiles.shape[-1]
    ink_written = (jnp.stack([columns[0], rows[0], columns[1], rows[1]], -1) - side // 2) * (SUB * TALL) // 20
    ink_type = (arrays["type_boxes"][face, digit] - CELL // 2) * SUB
    ink = jnp.where(written[:, None], ink_written, ink_type)
    sign = draws.below(arrays["others"].shape[0], len(line) - length)
    ink_other = (arrays["other_boxes"][sign] - CELL // 2) * SUB
    ink = jnp.concatenate([ink, ink_other])
    wide = ink[:, 2] - ink[:, 0]
    advance = jnp.where(written, 0, arrays["type_advances"][face, digit] * SUB)
    advance = jnp.maximum(jnp.append(advance, jnp.zeros(len(line) - length, jnp.int32)), wide)
    digit = jnp.append(digit, jnp.zeros(len(line) - length, jnp.int32))
    return jnp.concatenate([cells, arrays["others"][sign]]), digit, ink, advance


def _extent(where: Array) -> tuple[Array, Array]:
    """First true place and the one after the last, i32 [...] of bool [..., S]; 0 and S of none."""
    side = where.shape[-1]
    return jnp.argmax(where, -1).astype(jnp.int32), (side - jnp.argmax(where[..., ::-1], -1)).astype(jnp.int32)


def _spread(
    draws: Draws, line: Array, ink: Array, advance: Array, hand: Array, stacked: Array, count: int
) -> tuple[Array, Array]:
    """Puts glyphs side by side on their lines: see Glyphs.start and Glyphs.middle."""
    of = jnp.minimum(line, count - 1)
    wide, high = ink[:, 2] - ink[:, 0], ink[:, 3] - ink[:, 1]
    near = jnp.where(hand, draws.between(-SUB, 7 * SUB, count), draws.between(SUB, 7 * SUB, count))
    gap = jnp.where(draws.chance(18, count), draws.between(7 * SUB, 20 * SUB, count), near)
    gap = jnp.where(stacked, jnp.maximum(gap, 2 * SUB), gap)[of]
    even = draws.chance(50, count)[of] & ~stacked[of] & ~hand[of]  # as the face spaces them, else by ink
    room = jnp.where(even, advance + gap // 2, jnp.where(stacked[of], high, wide) + gap)
    is_last = jnp.arange(len(line)) == len(line) - 1 - LETTERS * WORDS
    before = draws.chance(30)  # the letter beside the first number
    # The order along the line is that of the glyphs, but for that letter.
    place = jnp.arange(len(line)) - is_last * before * len(line)
    same = (line[:, None] == line[None, :]) & (line < count)[:, None]  # [G, G]
    begin = jnp.where(same & (place[None, :] < place[:, None]), room[None, :], 0).sum(1)
    total = jnp.where(same, room[None, :], 0).sum(1)
    start = begin - total // 2
    bounce = draws.about(3 * SUB, len(line)) * hand[of]
    middle_along = start + jnp.where(
        even, room // 2, gap // 2 - jnp.where(stacked[of], ink[:, 1], ink[:, 0])
    )  # of the cell
    across = jnp.where(stacked[of], -(ink[:, 0] + ink[:, 2]) // 2, bounce)
    middle = jnp.where(
        stacked[of][:, None], jnp.stack([across, middle_along], -1), jnp.stack([middle_along, across], -1)
    )
    return start, middle


def _place(
    scene: Scene, draws: Draws, glyphs: Glyphs, there: Array, stacked: Array, hand: Array, large: Array
) -> Lines:
    """Draws how each line lies on the image, and where; a line that finds no room is not there."""
    count = scene.lines
    is_first = jnp.arange(count) == 0
    is_large = is_first & large
    mine = glyphs.line[None, :] == jnp.arange(count)[:, None]  # [T, G]
    low = jnp.where(mine[..., None], (glyphs.middle + glyphs.ink[:, :2])[None], FAR).min(1)
    high = jnp.where(mine[..., None], (glyphs.middle + glyphs.ink[:, 2:])[None], -FAR).max(1)
    extent = jnp.where(there[:, None], jnp.maximum(-low, high), SUB)  # [T, 2], half of width and height
    degrees = draws.about(9, count)
    degrees = jnp.where(draws.chance(25, count), draws.between(-15, 15, count), degrees)
    degrees = jnp.where(draws.chance(7, count) & ~is_large, draws.between(-40, 40, count), degrees)
    cos, sin = jnp.asarray(_COS)[degrees + 45], jnp.asarray(_SIN)[degrees + 45]
    shear = draws.about(ONE // 4, count)
    # The large number is as wide and as high as it happens to be cropped: photographs are squeezed to one shape.
    limit = min(scene.max_digit, scene.height - 2 * MARGIN)
    least, most = (min(max(scene.height * share // 100, scene.min_digit), limit) for share in (25, 90))
    wanted_height = jnp.where(is_large, draws.between(least, most, count), _heights(scene, draws, there))
    shares = np.round(scene.width * 0.13 * (0.95 / 0.13) ** (np.arange(256) / 255)).astype(np.int32)
    wanted_width = jnp.asarray(shares)[draws.below(256, count)]
    stretched = (
        wanted_width * (SUB * TALL // 2) // jnp.maximum(wanted_height, 1) * ONE // jnp.maximum(extent[:, 0], SUB)
    )
    stretch = jnp.where(is_large & ~stacked, jnp.clip(stretched, ONE * 4 // 10, ONE * 18 // 10), _stretch(draws, count))
    turned = jnp.stack(
        [
            jnp.stack([cos * stretch // ONE, (cos * shear - sin * ONE) // ONE], -1),
            jnp.stack([sin * stretch // ONE, (sin * shear + cos * ONE) // ONE], -1),
        ],
        -2,
    )  # [T, 2, 2]: rotation x (stretch, shear)
    tilt = draws.about(WEIGHT // 6, count, 2) * draws.chance(45, count)[:, None]
    tilt = tilt.at[:, 1].set(tilt[:, 1] // 2)
    bend = tilt * 256 // jnp.maximum(extent, SUB)
    # What it spans with a texel as large as a pixel, then how large it can be.
    corners = (glyphs.middle[:, None] + _corners(glyphs.ink))[None]  # [1, G, 4, 2]
    spans = jax.vmap(lambda m, b: _forward(corners[0], m[None], b[None]))(turned, bend)  # [T, G, 4, 2]
    low = jnp.where(mine[..., None, None], spans, FAR).min((1, 2))
    high = jnp.where(mine[..., None, None], spans, -FAR).max((1, 2))
    span = jnp.where(there[:, None], high - low, SUB)
    room = jnp.array([scene.width, scene.height]) - 2 * MARGIN - 1
    fit = (room * SUB * ONE // jnp.maximum(span, 1)).min(-1)
    scale = jnp.minimum(wanted_height * (ONE // TALL), fit)  # [T]
    matrix = turned * scale[:, None, None] // ONE
    inverse = _inverse(cos, sin, shear, stretch, scale)
    low, high = (edge * scale[:, None] // ONE for edge in (low, high))  # [T, 2], 1/64 pixel from the center
    pad = jnp.where(is_large[:, None], draws.between(5, 12, count, 2), draws.between(13, 22, count, 2)) * SUB
    plate = extent + pad
    outer = _forward(_corners(jnp.concatenate([-plate, plate], -1)), matrix, bend)  # [T, 4, 2]
    around = jnp.stack([outer.min(1), outer.max(1)], 1) // SUB + jnp.array([-1, 2])[:, None]  # [T, 2, 2] pixels
    center, region, there = _settle(scene, draws, low, high, around, there, is_large)
    return Lines(there, stacked, hand, matrix, inverse, bend, center, region, plate, scale)


def _heights(scene: Scene, draws: Draws, there: Array) -> Array:
    """Heights of digits, pixels, i32 [T]: from least to most each doubling as often as the next."""
    count, numbers = scene.lines, scene.max_numbers
    limit = max(scene.min_digit, min(scene.max_digit, scene.height - 2 * MARGIN))
    kinds = (
        (scene.min_digit, limit),  # one number
        (scene.min_digit, max(scene.min_digit, min(limit, scene.height * 45 // 100))),  # several
        (max(5, scene.min_digit * 6 // 10), max(8, min(limit, scene.height * 35 // 100))),  # words
    )
    steps = np.arange(256) / 255
    table = np.stack([np.round(low * (high / low) ** steps) for low, high in kinds]).astype(np.int32)
    place = jnp.arange(count)
    several = there[:numbers].sum() > 1
    kind = jnp.where(place < numbers, several.astype(jnp.int32), 2)
    return jnp.asarray(table)[kind, draws.below(256, count)]


def _stretch(draws: Draws, count: int) -> Array:
    """0.7..1.4, both ends as often, fixed point i32 [T]."""
    table = np.round(ONE * 2 ** (np.arange(-128, 129) / 256)).astype(np.int32)
    return jnp.asarray(table)[draws.about(128, count) + 128]


def _inverse(cos: Array, sin: Array, shear: Array, stretch: Array, scale: Array) -> Array:
    """i32 [T, 2, 2], the inverse of `turned` x scale, 1 / WEIGHT texels a pixel."""
    down = jnp.stack([-sin, cos], -1)  # [T, 2], of v
    along = jnp.stack([cos, sin], -1) - shear[:, None] * down // ONE
    along = along * ONE // stretch[:, None]
    rows = jnp.stack([along, down], -2)
    return rows * WEIGHT // scale[:, None, None]


def _corners(edges: Array) -> Array:
    """i32 [..., 4, 2] of left, top, right, bottom."""
    left, top, right, bottom = (edges[..., i] for i in range(4))
    return jnp.stack([jnp.stack(p, -1) for p in ((left, top), (right, top), (left, bottom), (right, bottom))], -2)


def _forward(at: Array, matrix: Array, bend: Array) -> Array:
    """Where u, v i32 [K, P, 2] lie by the maps [K or 1, 2, 2] and [K or 1, 2]: x, y from the line's center, 1/64 pixel."""
    divisor = WEIGHT + (at * bend[:, None] // 256).sum(-1, keepdims=True)
    at = at * WEIGHT // divisor
    return (at[..., None, :] * matrix[:, None]).sum(-1) // ONE


def _settle(
    scene: Scene, draws: Draws, low: Array, high: Array, around: Array, there: Array, is_large: Array
) -> tuple[Array, Array, Array]:
    """Finds each line a place where no earlier one is: center [T, 2], region [T, 4], and whether there was one."""
    count = scene.lines
    size = jnp.array([scene.width, scene.height])
    least = -(low // SUB) + MARGIN  # whole pixels of the center, so that ink lies within
    most = jnp.maximum(size - MARGIN - 1 - high // SUB, least)
    tries = draws.bits(_TRIES, count, 2) % (most - least + 1).astype(jnp.uint32)
    tries = least + tries.astype(jnp.int32)
    central = (least + most) // 2 + (tries - (least + most) // 2) // 2
    tries = jnp.where(is_large[:, None], central, tries)  # [tries, T, 2]
    centers: list[Array] = []
    regions: list[Array] = []
    found: list[Array] = []
    for t in range(count):
        region = jnp.concatenate([tries[:, t] + around[t, 0], tries[:, t] + around[t, 1]], -1)  # [tries, 4]
        free = jnp.ones(_TRIES, bool)
        for other, is_there in zip(regions, found, strict=True):
            apart = (region[:, :2] >= other[2:]).any(-1) | (region[:, 2:] <= other[:2]).any(-1)
            free &= apart | ~is_there
        best = jnp.argmax(free)
        centers.append(2 * tries[best, t])
        regions.append(region[best])
        found.append(there[t] & free[best])
    return jnp.stack(centers), jnp.stack(regions), jnp.stack(found)
