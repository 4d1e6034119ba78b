"""The views of a picture that an engine is given: the levels of the overview, and cuts of places."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from seqdigits.inference.reading import Reading

LEVELS = 3
"""Number of levels of the overview; each has half the scale of the one before."""

MAX_ENLARGEMENT = 2.0
"""A picture is enlarged for the overview at most by this factor."""

MIN_SIDE = 32
"""A level whose shorter side would have fewer pixels is left out, except for the first."""

ASPECTS = ((6, 8), (8, 6), (7, 7), (5, 9), (9, 5), (4, 12), (12, 4))
"""Height and width of the largest level, in eighths of the overview; a picture gets the one in which it is largest.

These few shapes have about the same area: a compiled engine is compiled for them alone, and pictures of every aspect ratio
take the same time.
"""

MAX_SHRINK = 16
"""A small picture gets the smallest of the shapes divided by 1, 2, 4, .. MAX_SHRINK that holds it."""

CUT_HEIGHT, CUT_WIDTHS = 64, (96, 160, 256)
"""Height and widths of cuts, in pixels."""

MAX_TILT_DEGREES = 45.0
"""A cut is turned by the angle of its number up to this; a steeper number is a stack, whose digits stand upright."""


class View(NamedTuple):
    """Pixels that an engine is given, and where they are in the picture.

    Attributes:
      pixels: u8 [H, W, 3].
      matrix: f64 [2, 3], maps x and y in the view, in pixels, to x and y in the picture.
      scale: pixels of the view per pixel of the picture.
      size: width and height of the part of the view that shows the picture; the rest repeats its edge.
    """

    pixels: np.ndarray
    matrix: np.ndarray
    scale: float
    size: tuple[int, int]

    def to_picture(self, box: np.ndarray) -> np.ndarray:
        """Maps boxes f64 [M, 4], cxcywh, from the view to the picture; they stay upright."""
        center = box[:, :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.concatenate([center, box[:, 2:] / self.scale], axis=1)

    def shows(self, box: np.ndarray) -> np.ndarray:
        """Returns which boxes f64 [M, 4], cxcywh in the view, have their center in the picture: bool [M]."""
        return (box[:, 0] < self.size[0]) & (box[:, 1] < self.size[1])


def level_shapes(width: int, height: int, overview: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Returns for each level of the overview the size of the resized picture (width, height), and the shape (H, W).

    Args:
      width: of the picture, in pixels.
      height: of the picture, in pixels.
      overview: width of the largest level of a picture of 4:3, in pixels; a multiple of 128.

    >>> level_shapes(1024, 768, 512)
    [((512, 384), (384, 512)), ((256, 192), (192, 256)), ((128, 96), (96, 128))]
    >>> level_shapes(74, 37, 512)
    [((148, 74), (160, 288)), ((74, 37), (80, 144))]
    """
    unit = overview // 8
    fit, rows, columns = max((min(h * unit / height, w * unit / width), h * unit, w * unit) for h, w in ASPECTS)
    scale = min(fit, MAX_ENLARGEMENT)
    shrink = min(2 ** math.floor(math.log2(fit / scale)), MAX_SHRINK)
    levels: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for level in range(LEVELS):
        size = max(round(width * scale / 2**level), 1), max(round(height * scale / 2**level), 1)
        if level and (min(size) < MIN_SIDE or shrink * 2**level > MAX_SHRINK):
            break
        levels.append((size, (rows // (shrink * 2**level), columns // (shrink * 2**level))))
    return levels


def overview_levels(picture: Image.Image, overview: int) -> list[View]:
    """Returns the levels of the overview, the largest first; see `level_shapes`."""
    views = []
    for size, shape in level_shapes(picture.width, picture.height, overview):
        pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))
        padding = (0, shape[0] - size[1]), (0, shape[1] - size[0]), (0, 0)
        x, y = picture.width / size[0], picture.height / size[1]
        matrix = np.array([[x, 0.0, 0.0], [0.0, y, 0.0]])
        views.append(View(np.pad(pixels, padding, mode="edge"), matrix, 1 / math.sqrt(x * y), size))
    return views


class CutSize(NamedTuple):
    """The size of a cut.

    Attributes:
      digit_height: height of the number's digits in the cut, in pixels.
      margin: at the left and right, in heights of a digit.
      contrast: the differences from the mean of the cut are multiplied by it, 0..1. Readings of several contrasts and heights
        are more independent of each other; soft ones read thin pen better.
    """

    digit_height: float
    margin: float
    contrast: float


class CutGeometry(NamedTuple):
    """Where a cut is in the picture.

    Attributes:
      width: of the cut, one of CUT_WIDTHS.
      scale: pixels of the cut per pixel of the picture.
      matrix: f64 [2, 3], see View.
    """

    width: int
    scale: float
    matrix: np.ndarray


def cut_geometry(reading: Reading, size: CutSize) -> CutGeometry:
    """Places a cut around a number: centered, turned upright, with digits of the height of `size`.

    A number that would be wider than the widest cut is scaled down to fit.
    """
    left, top, right, bottom = reading.edges
    tilted = abs(reading.angle) <= math.radians(MAX_TILT_DEGREES)
    angle = reading.angle if tilted else 0.0
    height = reading.height
    scale = size.digit_height / height
    if not tilted:  # the height of a stack is that of all its digits
        scale = min(scale, CUT_HEIGHT / (bottom - top + 2 * size.margin * height))
    needed = ((right - left) / math.cos(angle) + 2 * size.margin * height) * scale
    width = next((w for w in CUT_WIDTHS if w >= needed), CUT_WIDTHS[-1])
    scale *= min(width / needed, 1.0)
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    turn = np.array([[cosine, -sine], [sine, cosine]])
    center = np.array([(left + right) / 2, (top + bottom) / 2])
    offset = center - turn @ [width / 2, CUT_HEIGHT / 2]
    return CutGeometry(width, scale, np.concatenate([turn, offset[:, None]], axis=1))


def cut(picture: Image.Image, geometry: CutGeometry, contrast: float) -> View:
    """Cuts a view from the original pixels, bilinear after a reduction by an integer; beyond the picture, its edge is repeated.

    Args:
      picture: of mode RGB.
      geometry: where.
      contrast: see CutSize.
    """
    matrix, size = geometry.matrix, (geometry.width, CUT_HEIGHT)
    corners = matrix[:, :2] @ np.array([[0, size[0], 0, size[0]], [0, 0, size[1], size[1]]]) + matrix[:, 2:]
    factor = max(int(1 / geometry.scale), 1)
    low = [int(v) // factor * factor for v in np.floor(corners.min(1)) - 2 * factor]
    high = [int(v) for v in np.ceil(corners.max(1)) + 2 * factor]
    left, top = min(max(low[0], 0), picture.width - 1), min(max(low[1], 0), picture.height - 1)
    right, bottom = max(min(high[0], picture.width), left + 1), max(min(high[1], picture.height), top + 1)
    part = np.asarray(picture.reduce(factor, (left, top, right, bottom)))
    columns, rows = (
        (np.arange(a, b, factor) - start) // factor for a, b, start in zip(low, high, (left, top), strict=True)
    )
    part = part[np.clip(rows, 0, part.shape[0] - 1)][:, np.clip(columns, 0, part.shape[1] - 1)]
    to_part = matrix.copy()
    to_part[:, 2] -= low
    to_part /= factor
    pixels = Image.fromarray(part).transform(
        size, Image.Transform.AFFINE, tuple(to_part.ravel().tolist()), Image.Resampling.BILINEAR
    )
    softened = np.asarray(pixels, np.float64)
    softened = (softened - softened.mean()) * contrast + softened.mean()
    return View(np.round(softened).astype(np.uint8), matrix, geometry.scale, size)
