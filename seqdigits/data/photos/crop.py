"""What part of a photograph becomes an image, and where the digits' boxes lie in it."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from PIL import Image

from seqdigits.core.errors import UserError

PHOTO_COMPOSITIONS = ("photograph", "crop", "cropped_digit")
"""Compositions that are photographs of numbers: whole, cropped by the true box, or single digits cut out."""
MARGIN = 0.15
"""A crop is the hull of the digits' boxes made wider and higher by this share of it on each side."""
DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow raises for a photograph that cannot be read."""

Window = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of a photograph."""


def view_photo(
    photo: Image.Image, boxes: np.ndarray, kind: str, height: int, width: int, described: str
) -> tuple[np.ndarray, np.ndarray]:
    """A window of a photograph as an image, squeezed to height x width.

    Args:
      photo: "L" or "RGB".
      boxes: f32 [n, 4], of its digits, cxcywh in pixels of the photograph.
      kind: "photograph": the whole photograph. "crop": the hull of the boxes made 30% wider and higher, 15% a side,
        clipped at the photograph's edge. "cropped_digit": a square around the middle of the first box, as large as the
        box's longer side, the photograph's edge pixels repeated where it reaches beyond.
      height, width: of the image, in pixels.
      described: what messages call the photograph.

    Returns:
      The image, u8 [height, width] or [height, width, 3], and the boxes in its pixels, f64 [n, 4].

    Raises:
      UserError: the window has no area within the photograph.
    """
    if kind == "cropped_digit":
        window = _square(boxes[0].tolist())
    elif kind == "crop":
        window = _enclosing_box(boxes.astype(np.float64), photo.size)
    else:
        window = (0.0, 0.0, float(photo.width), float(photo.height))
    left, top, right, bottom = window
    if not (left < right and top < bottom):
        raise UserError(f"{described}: the boxes of its digits have no area within the photograph")
    scale = np.array([width / (right - left), height / (bottom - top)])
    moved = np.concatenate([(boxes[:, :2] - [left, top]) * scale, boxes[:, 2:] * scale], axis=1)
    photo, window = _with_edges(photo, window)
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR, box=window)), moved


def _enclosing_box(boxes: np.ndarray, size: tuple[int, int]) -> Window:
    """Around all boxes, larger by MARGIN on each side, clipped to a photograph of `size` (width, height)."""
    low = (boxes[:, :2] - boxes[:, 2:] / 2).min(0)
    high = (boxes[:, :2] + boxes[:, 2:] / 2).max(0)
    margin = MARGIN * (high - low)
    left, top = np.maximum(low - margin, 0).tolist()
    right, bottom = np.minimum(high + margin, size).tolist()
    return left, top, right, bottom


def _square(box: list[float]) -> Window:
    """Around the middle of a box, its side the longer of the box's. It may reach beyond the photograph."""
    x, y, width, height = box
    half = max(width, height) / 2
    return x - half, y - half, x + half, y + half


def _with_edges(photo: Image.Image, window: Window) -> tuple[Image.Image, Window]:
    """The photograph made larger by repeating its edge pixels where the window reaches beyond; the window in it."""
    left, top, right, bottom = window
    x, y = min(math.floor(left), 0), min(math.floor(top), 0)
    columns = np.arange(x, max(math.ceil(right), photo.width))
    rows = np.arange(y, max(math.ceil(bottom), photo.height))
    if (len(columns), len(rows)) == photo.size:
        return photo, window
    inside = np.ix_(np.clip(rows, 0, photo.height - 1), np.clip(columns, 0, photo.width - 1))
    return Image.fromarray(np.asarray(photo)[inside]), (left - x, top - y, right - x, bottom - y)
