"""Draws a sheet of pictures with wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from seqdigits.visualization.boxes import BOX, draw_box

SIDE = 256
"""Length of the longer side of a picture on the sheet, in pixels."""
_BACKGROUND, _TEXT = (24, 24, 28), (230, 230, 230)
_MARGIN = 4  # pixels around each picture
_LINE = 16  # pixels of each of the two lines below it


class WrongAnswer(NamedTuple):
    """One picture of the sheet.

    Attributes:
      picture: mode "RGB", of any size; `thumbnail` makes it small.
      box: of the answer, left, top, width and height in pixels of `picture`; None if there is none.
      answer: the first line below the picture.
      truth: the second one.
    """

    picture: Image.Image
    box: tuple[float, float, float, float] | None
    answer: str
    truth: str


def thumbnail(wrong: WrongAnswer) -> WrongAnswer:
    """Returns the picture with a longer side of SIDE pixels, enlarged if it is smaller, and its box."""
    width, height = wrong.picture.size
    scale = SIDE / max(width, height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = wrong.picture.resize(size, Image.Resampling.BICUBIC)
    if wrong.box is None:
        return wrong._replace(picture=picture)
    x, y, w, h = (float(value) * scale for value in wrong.box)
    return wrong._replace(picture=picture, box=(x, y, w, h))


def draw_sheet(wrong: Sequence[WrongAnswer], columns: int = 6) -> Image.Image:
    """Draws the pictures row by row, each with its box in red and two lines of text below it.

    Args:
      wrong: results of `thumbnail`, at least one.
      columns: maximum number of pictures in a row.
    """
    columns = min(columns, len(wrong))
    rows = [wrong[i : i + columns] for i in range(0, len(wrong), columns)]
    heights = [max(item.picture.height for item in row) for row in rows]  # pictures of text lines are flat
    width, around = SIDE + 2 * _MARGIN, 2 * _MARGIN + 2 * _LINE
    sheet = Image.new("RGB", (columns * width, sum(heights) + around * len(rows)), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for i, item in enumerate(row):
            picture, left = item.picture.copy(), i * width + _MARGIN
            if item.box:
                draw_box(picture, item.box)
            sheet.paste(picture, (left + (SIDE - picture.width) // 2, top + (height - picture.height) // 2))
            draw.text((left, top + height + 1), item.answer, BOX, font)
            draw.text((left, top + height + 1 + _LINE), item.truth, _TEXT, font)
        top += height + around
    return sheet
