"""Draws the glyphs of one face from its font file."""

from __future__ import annotations

import io
import itertools
import string
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqdigits.data.scenes.font_files import default_axes
from seqdigits.data.scenes.glyphs import MIN_COVERAGE, SIZE, covered_box

DIGIT_HEIGHT = 32  # of the tallest digit of a face, pixels
SUPERSAMPLING = 8  # a pixel is the mean of 8x8 subpixels; at that size hinting has no visible effect
MAX_LETTER_IOU = 0.75  # a letter or sign that overlaps with a digit by more resembles that digit and is left out
MAX_DIGIT_IOU = 0.95  # two digits of a face that overlap by more are the same glyph

# Excluded are O o I l i and |, which are indistinguishable from 0 and 1, and letters that resemble a digit in some
# handwriting, at some angle, or on a display: Z z 2, S s 5, B 8, b G 6, g q 9.
LETTERS = "".join(sorted(set(string.ascii_letters) - set("OoIliZzSsBbGgq")))
SIGNS = "#/-.:&()!?$%+*\u2190\u2191\u2192\u2193"


class Glyph(NamedTuple):
    """A drawn character.

    Attributes:
      character: a string of length 1.
      image: u8 [48, 48], coverage.
      box: left, top, right, bottom (exclusive) of the pixels with MIN_COVERAGE or more.
      advance: pixels from its origin to that of the next glyph.
    """

    character: str
    image: np.ndarray
    box: tuple[int, int, int, int]
    advance: int


def draw_face(font: bytes, axes: dict[str, float], others: bool) -> list[Glyph]:
    """Draws the digits of a face, 0 first, then on request the letters and signs that the font has.

    All glyphs have one scale, at which the tallest digit is 32 pixels high. The covered pixels are centered
    horizontally at column 24, and the vertical center of the digits is at row 24. A letter that would extend beyond the
    image is moved vertically as far as necessary. Letters and signs are left out if they are larger than the image,
    resemble a digit, or have the same image as another one.

    Args:
      font: the bytes of the font file.
      axes: values of a variable font's axes by tag; the others have their defaults.
      others: whether to draw letters and signs too.

    Raises:
      ValueError: a digit is missing, resembles another digit, or does not fit; or the font has no such axis.
    """
    canvas = SIZE * SUPERSAMPLING
    rasters = [_rasterize(_open(font, axes, 500), c) for c in string.digits]
    max_height = max(raster.height for raster, _, _ in rasters)
    face = _open(font, axes, 500 * DIGIT_HEIGHT * SUPERSAMPLING / max_height)
    rasters = [_rasterize(face, c) for c in string.digits]
    middle = (min(top for _, _, top in rasters) + max(top + raster.height for raster, _, top in rasters)) // 2
    missing_glyph = bytes(face.getmask("\uffff"))  # what the font shows for a character that it does not have

    def draw(character: str) -> Glyph | None:
        raster, _, top = _rasterize(face, character)
        if max(raster.size) > canvas or bytes(face.getmask(character)) == missing_glyph:
            return None
        page = Image.new("L", (canvas, canvas))
        y = min(max(canvas // 2 + top - middle, 0), canvas - raster.height)
        page.paste(raster, ((canvas - raster.width) // 2, y))
        total = np.asarray(page, np.int32).reshape(SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING).sum(axis=(1, 3))
        image = ((total + SUPERSAMPLING**2 // 2) // SUPERSAMPLING**2).astype(np.uint8)
        if not (image >= MIN_COVERAGE).any():
            return None
        return Glyph(character, image, covered_box(image), round(face.getlength(character) / SUPERSAMPLING))

    drawn = [glyph for c in string.digits if (glyph := draw(c)) is not None]
    if missing := set(string.digits) - {glyph.character for glyph in drawn}:
        raise ValueError(f"it has no digits {' '.join(sorted(missing))}, or they are too large")
    for one, other in itertools.combinations(drawn, 2):
        if _iou(one.image, other.image) > MAX_DIGIT_IOU:
            raise ValueError(f"its {one.character} and {other.character} cannot be told apart")
    for character in LETTERS + SIGNS if others else "":
        new = draw(character)
        if new is None or any(_iou(new.image, digit.image) > MAX_LETTER_IOU for digit in drawn[:10]):
            continue
        if all((new.image != glyph.image).any() for glyph in drawn):  # small letters may be drawn as capitals
            drawn.append(new)
    return drawn


def _rasterize(face: ImageFont.FreeTypeFont, character: str) -> tuple[Image.Image, int, int]:
    """Returns a character cropped to its covered pixels, and its left and top.

    These are relative to the origin on the baseline. The image of a character without covered pixels is one pixel.
    """
    size = 3 * SIZE * SUPERSAMPLING  # a larger glyph is cropped, and is still too large
    page = Image.new("L", (size, size))
    ImageDraw.Draw(page).text((size // 3, 2 * size // 3), character, 255, face, anchor="ls")
    left, top, right, bottom = page.getbbox() or (0, 0, 1, 1)
    return page.crop((left, top, right, bottom)), left - size // 3, top - 2 * size // 3


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the intersection over union of two coverages u8 [H, W]."""
    return float(np.minimum(one, other).sum(dtype=np.int64) / np.maximum(one, other).sum(dtype=np.int64))


def _open(font: bytes, axes: dict[str, float], size: float) -> ImageFont.FreeTypeFont:
    opened = ImageFont.truetype(io.BytesIO(font), size, layout_engine=ImageFont.Layout.BASIC)
    defaults = default_axes(font)
    if unknown := set(axes) - set(defaults):
        raise ValueError(f"it has no axis {' '.join(sorted(unknown))}")
    if defaults:
        opened.set_variation_by_axes([axes.get(tag, default) for tag, default in defaults.items()])
    return opened
