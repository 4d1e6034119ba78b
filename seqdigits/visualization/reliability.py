"""Diagrams of an evaluation, drawn by Pillow alone."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_GROUND, _TEXT, _GRID, _DIAGONAL = (24, 24, 28), (230, 230, 230), (58, 58, 66), (140, 140, 150)
_COLORS = {"before": (240, 150, 50), "after": (0, 200, 110)}
_SIDE, _LEFT, _TOP, _BOTTOM, _RIGHT = 300, 56, 64, 56, 20  # pixels: of a panel, and around it


def reliability(before: dict[str, Any], after: dict[str, Any]) -> Image.Image:
    """What is said and what is true, digits at the left, numbers at the right: for each bin of confidence the share that is
    right over the mean confidence, a larger dot for more cases. On the diagonal they are the same.

    `before`, `after`: figures with `reliability`, `calibration_error` and `digit_calibration_error`.
    """
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    page = Image.new("RGB", (2 * width, height), _GROUND)
    draw = ImageDraw.Draw(page)
    panels = (("digits", "digit_calibration_error"), ("numbers", "calibration_error"))
    for column, (kind, error) in enumerate(panels):
        _panel(draw, column * width + _LEFT, kind)
        for row, (name, figures) in enumerate((("before", before), ("after", after))):
            bins, off = figures["reliability"][kind], figures[error]
            _curve(draw, column * width + _LEFT, bins, _COLORS[name])
            label = f"{name}: calibration error {'-' if off is None else f'{off:.4f}'}"
            draw.text((column * width + _LEFT, 26 + 17 * row), label, _COLORS[name], ImageFont.load_default(13))
    return page


def _panel(draw: ImageDraw.ImageDraw, left: int, kind: str) -> None:
    font, small = ImageFont.load_default(15), ImageFont.load_default(11)
    draw.text((left, 6), kind, _TEXT, font)
    for tenth in range(0, 11, 2):
        x, y = _place(left, tenth / 10, tenth / 10)
        draw.line((x, _TOP, x, _TOP + _SIDE), _GRID)
        draw.line((left, y, left + _SIDE, y), _GRID)
        draw.text((x, _TOP + _SIDE + 6), f"{tenth / 10:.1f}", _TEXT, small, anchor="ma")
        draw.text((left - 6, y), f"{tenth / 10:.1f}", _TEXT, small, anchor="rm")
    draw.line((*_place(left, 0, 0), *_place(left, 1, 1)), _DIAGONAL)
    draw.text((left + _SIDE // 2, _TOP + _SIDE + 26), "confidence", _TEXT, small, anchor="ma")
    draw.text((left - 46, _TOP - 4), "right", _TEXT, small, anchor="ls")


def _curve(draw: ImageDraw.ImageDraw, left: int, bins: list[dict[str, Any]], color: tuple[int, int, int]) -> None:
    there = [b for b in bins if b["count"]]
    cases = sum(b["count"] for b in there)
    points = [_place(left, b["confidence"], b["accuracy"]) for b in there]
    draw.line(points, color, 2)
    for (x, y), b in zip(points, there, strict=True):
        radius = 2 + 8 * math.sqrt(b["count"] / cases)  # the area tells the cases
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=2)


def _place(left: int, confidence: float, accuracy: float) -> tuple[float, float]:
    return left + confidence * _SIDE, _TOP + (1 - accuracy) * _SIDE
