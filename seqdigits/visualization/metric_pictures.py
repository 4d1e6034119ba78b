"""Pictures of metrics for TensorBoard, drawn with Pillow: training needs no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_BACKGROUND, _TEXT, _LINE = (255, 255, 255), (40, 44, 52), (210, 214, 220)
_RIGHT, _WRONG = (58, 118, 240), (208, 50, 60)
_CELL = 34  # pixels, side of a cell of the matrix
_MARGIN = 46  # pixels, for labels
_SIDE = 280  # pixels, of a diagram


def confusion_picture(confusion: Sequence[Sequence[int]]) -> Image.Image:
    """Draws a confusion matrix: the percentage of each true class (row) by predicted class (column).

    Opacity grows with the square root of the share, so that rare confusions are seen.

    Args:
      confusion: counts [11, 11], the last class is NO_DIGIT.
    """
    counts = np.array(confusion, np.float64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    classes = len(counts)
    names = [*map(str, range(classes - 1)), "none"]
    side = _MARGIN + classes * _CELL + 8
    picture = Image.new("RGB", (side, side), _BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    draw.text((4, 6), "true", _TEXT, font)
    draw.text((4, 22), "\\ pred.", _TEXT, font)
    for i, name in enumerate(names):
        middle = _MARGIN + i * _CELL + _CELL // 2
        draw.text((middle, _MARGIN - 12), name, _TEXT, font, anchor="mm")
        draw.text((_MARGIN - 18, middle), name, _TEXT, font, anchor="mm")
        for j, share in enumerate(shares[i]):
            left, top = _MARGIN + j * _CELL, _MARGIN + i * _CELL
            color = _blend(_RIGHT if i == j else _WRONG, 0.85 * float(np.sqrt(share)))
            draw.rectangle((left, top, left + _CELL - 2, top + _CELL - 2), color, _LINE)
            if share >= 0.005:
                middle_of_cell = left + _CELL // 2 - 1, top + _CELL // 2 - 1
                draw.text(middle_of_cell, f"{100 * share:.0f}", _TEXT, font, anchor="mm")
    return picture


def reliability_picture(bins: dict[str, list[dict[str, Any]]]) -> Image.Image:
    """Draws diagrams of accuracy over mean confidence, with the diagonal, one below another.

    Args:
      bins: see ConfidenceHistogram.reliability, by name of the diagram. The area of a dot grows with its count.
    """
    side = _SIDE + 2 * _MARGIN
    picture = Image.new("RGB", (side, side * len(bins)), _BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for i, (name, found) in enumerate(bins.items()):
        bottom = i * side + _MARGIN + _SIDE

        def place(x: float, y: float, bottom: int = bottom) -> tuple[float, float]:
            return _MARGIN + _SIDE * x, bottom - _SIDE * y

        for part in range(6):
            share = part / 5
            draw.line((*place(share, 0), *place(share, 1)), _LINE, 2)
            draw.line((*place(0, share), *place(1, share)), _LINE, 2)
            draw.text(place(share, -0.06), f"{share:.1f}", _TEXT, font, anchor="mm")
            draw.text(place(-0.08, share), f"{share:.1f}", _TEXT, font, anchor="mm")
        draw.line((*place(0, 0), *place(1, 1)), _TEXT, 2)
        draw.text(place(0, 1.08), f"{name}: accuracy by confidence", _TEXT, font, anchor="lm")
        points = [(*place(b["confidence"], b["accuracy"]), b["count"]) for b in found if b["count"]]
        draw.line([(x, y) for x, y, _ in points], _RIGHT, width=2)
        total = sum(count for *_, count in points)
        for x, y, count in points:
            radius = 3 + 12 * (count / total) ** 0.5
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_RIGHT, width=2)
    return picture


def _blend(color: tuple[int, int, int], opacity: float) -> tuple[int, int, int]:
    """Returns a color on the background.

    >>> _blend((0, 100, 200), 0.5)
    (128, 178, 228)
    """
    red, green, blue = (round(b + (c - b) * opacity) for c, b in zip(color, _BACKGROUND, strict=True))
    return red, green, blue
