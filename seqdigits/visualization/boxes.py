"""Draws boxes on pictures."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

BOX = (235, 50, 40)
"""The color of boxes of answers: red."""
_BACKGROUND, _DIGIT = (24, 24, 28), (255, 190, 0)

Box = tuple[float, float, float, float]
"""Left, top, width and height, in pixels."""


def draw_box(picture: Image.Image, box: Box, color: tuple[int, int, int] = BOX, line: int = 2) -> None:
    """Draws a box on a picture of mode "RGB".

    Args:
      picture: is changed.
      box: in its pixels; a side below 0 counts as 0.
      color: of the line.
      line: its width in pixels, inside the box.
    """
    left, top, width, height = box
    edges = (left, top, left + max(width, 0), top + max(height, 0))
    ImageDraw.Draw(picture).rectangle(edges, outline=color, width=line)


def draw_number(picture: Image.Image, box: Box, digits: Sequence[Box], label: str) -> None:
    """Draws the box of a number in red, those of its digits in orange, and a label above it, or below where there is no space.

    Args:
      picture: of mode "RGB"; is changed. Lines and letters are as large as suits its size.
      box: of the number.
      digits: boxes of the digits.
      label: one line.
    """
    line = max(max(picture.size) // 400, 1)
    for digit in digits:
        draw_box(picture, digit, _DIGIT, line)
    frame = 2 * line
    draw_box(picture, (box[0] - frame, box[1] - frame, box[2] + 2 * frame, box[3] + 2 * frame), BOX, frame)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(max(max(picture.size) // 40, 10))
    _, _, width, height = (round(edge) + 2 * line for edge in draw.textbbox((0, 0), label, font))
    above = box[1] - frame - height - 1
    left = max(min(box[0], picture.width - width), 0)
    top = above if above >= 0 else min(box[1] + box[3] + frame + 1, max(picture.height - height, 0))
    draw.rectangle((left, top, left + width, top + height), fill=_BACKGROUND)
    draw.text((left + line, top), label, (255, 255, 255), font)
