"""Views: what a network is shown by a reader of whole pictures.

The reader looks at a picture twice: at small versions of the whole picture (the overview), and at cuts around the numbers
that it found there. Most of what both show has no number.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.data.scenes.draws import Draws

CUTS, OVERVIEWS = 45, 30
"""Percentage of views that show a number cut out, and of those that are of the overview; the remaining ones have no number."""
WHOLE_PICTURES = 67
"""Percentage of whole pictures that have a number."""
PAPERS = 32
"""Percentage of views of paper, on which most numbers are handwritten."""
DRAWN = 50
"""Percentage of handwritten numbers whose digits are drawn, see skeletons; those of the others are of MNIST."""
CUT_DIGITS, OVERVIEW_DIGITS = (18, 46), (8, 26)
"""Range of the height of digits in a cut, and in the overview, pixels."""
MIN_VISIBLE = 70
"""Percentage of the box of a digit that must be within the image, or else the digit is not labeled."""
FREQUENCIES = (68, 189, 144, 116, 102, 94, 78, 76, 69, 64)
"""How often the digits 0..9 are in house numbers, per mille (the digits of the training photographs of SVHN)."""
_LENGTHS = np.repeat(np.arange(1, 6), (15, 36, 27, 14, 8))
"""Lengths of house numbers; two and three digits are the most frequent."""
_DIGITS = np.repeat(np.arange(10), FREQUENCIES)


class View(NamedTuple):
    """What a view shows: one of both, or no number.

    Attributes:
      is_cut: bool [], a number in the middle, and parts of its neighbors.
      is_overview: bool [], numbers anywhere.
      is_paper: bool [], on paper, plain, ruled or with a grid.
      is_tight: bool [], whether the picture that is cut ends at the number; the cut repeats the edge of the picture.
    """

    is_cut: Array
    is_overview: Array
    is_paper: Array
    is_tight: Array


def draw_view(draws: Draws, whole: bool) -> View:
    """Draws what a view shows; a whole picture counts as one of the overview."""
    kind = draws.below(100)
    cuts, overviews = (0, WHOLE_PICTURES) if whole else (CUTS, OVERVIEWS)
    is_cut, is_overview = kind < cuts, (kind >= cuts) & (kind < cuts + overviews)
    is_paper = draws.chance(PAPERS)
    return View(is_cut, is_overview, is_paper, is_cut & draws.chance(jnp.where(is_paper, 50, 12)))


def draw_lengths(draws: Draws, view: View, numbers: int, max_length: int, min_length: int) -> tuple[Array, Array]:
    """Draws the number of numbers, i32 [], and their lengths, i32 [numbers]."""
    has_neighbors = draws.chance(jnp.where(view.is_cut, 45, 60))
    count = jnp.where(has_neighbors, draws.between(2, numbers), 1)
    house = jnp.asarray(_LENGTHS)[draws.below(100, numbers)]
    lengths = jnp.where(draws.chance(65, numbers), house, draws.between(1, max_length, numbers))
    return count * (view.is_cut | view.is_overview), jnp.clip(lengths, min_length, max_length)


def draw_heights(draws: Draws, view: View, limits: tuple[int, int], is_word: Array, whole: bool) -> Array:
    """Draws the heights of digits, log-uniform within `limits` and the range of the view, pixels, i32 like `is_word`.

    Numbers of whole pictures have any height within `limits`, and words any from 5 pixels on.
    """
    low, high = limits
    of_views = (limits, limits) if whole else (CUT_DIGITS, OVERVIEW_DIGITS)
    ranges = [(max(low, a), max(low, min(high, b))) for a, b in of_views]
    ranges += [(5, max(8, min(high, CUT_DIGITS[1])))]
    steps = np.arange(256) / 255
    table = np.stack([np.round(a * (b / a) ** steps) for a, b in ranges]).astype(np.int32)
    kind = jnp.where(is_word, 2, jnp.where(view.is_cut, 0, 1))
    return jnp.asarray(table)[kind, draws.below(256, *is_word.shape)]


def draw_digits(draws: Draws, count: int) -> Array:
    """Draws digits, i32 [count]: one half uniform, the other as frequent as in house numbers."""
    return jnp.where(draws.chance(50, count), draws.below(10, count), jnp.asarray(_DIGITS)[draws.below(1000, count)])


def draw_amount_digits(draws: Draws, view: View, digit: Array) -> Array:
    """Returns the digits i32 [count], a quarter of them replaced by zeros on paper, as in amounts."""
    return jnp.where(view.is_paper & draws.chance(25, len(digit)), 0, digit)


def draw_slant(draws: Draws, count: int) -> Array:
    """Draws the slant of lines of handwriting, mostly to the right, i32 [count], 4096 = 45 degrees, negative to the right."""
    return jnp.where(draws.chance(50, count), draws.triangular(1024, count), draws.between(-2600, 500, count))


def draw_sizes(draws: Draws, count: int) -> Array:
    """Draws by how much the smallest digits of handwriting are smaller, 4096 = none, i32 [count]."""
    return 4096 - draws.between(0, 1000, count) * draws.chance(40, count)


def draw_separators(draws: Draws, view: View, length: Array) -> Array:
    """Draws whether the first number has a separator of thousands, and a sign at its end, bool [2]."""
    percent = jnp.where(view.is_paper, jnp.array([45, 35]), jnp.array([10, 6]))
    return draws.chance(percent, 2) & (length > jnp.array([3, 0]))


def draw_window(draws: Draws, view: View, box: Array, width: int, height: int) -> Array:
    """Returns the part of the image that shows the picture: left, top, right, bottom (exclusive), pixels, i32 [4].

    Args:
      draws: the random numbers of the scene.
      view: what it shows.
      box: of the number in the middle, i32 [4], likewise.
      width: of the image.
      height: of the image.
    """
    margin = draws.between(-1, 9, 4)
    tight = box + jnp.where(jnp.arange(4) < 2, -margin, margin)
    limit = jnp.array([width, height, width, height])
    whole = jnp.array([0, 0, width, height])
    return jnp.where(view.is_tight, jnp.clip(tight, 0, limit), whole)


def draw_overhang(draws: Draws, view: View, size: Array) -> Array:
    """Draws how far lines may extend beyond the edges of the image, i32 like `size`, pixels.

    Args:
      draws: the random numbers of the scene.
      view: what the view shows.
      size: i32 [T, 2], width and height of the lines.
    """
    count = len(size)
    is_cut_off = draws.chance(jnp.where(view.is_cut, 70, 20), count) & ~(view.is_cut & (jnp.arange(count) == 0))
    return size * draws.below(100, count, 2) * is_cut_off[:, None] // 100


def draw_shift(draws: Draws, height: Array) -> Array:
    """Draws the distance of the number from the middle of a cut, i32 [tries, 2] for i32 [tries] heights, pixels."""
    return jnp.stack([draws.triangular(height), draws.triangular(height // 2)], -1)
