"""Crops photographs, resizes the crop to an image, and maps the digits' boxes into it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from seqdigits.core.errors import UserError

PHOTO_COMPOSITIONS = ("photograph", "crop", "cropped_digit")
"""Compositions of photographs: the complete photograph, a crop around the true boxes, or crops of single digits."""
MARGIN = 0.15
"""Margin of a crop on each side, as a share of the width or height of the box that encloses all digits."""
NO_BOXES = np.zeros((0, 4))

Window = tuple[float, float, float, float]
"""Left, top, right and bottom edge, in pixels of a photograph."""


def crop_photo(
    photo: Image.Image,
    boxes: np.ndarray,
    kind: str,
    height: int,
    width: int,
    described: str,
    further: np.ndarray = NO_BOXES,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops a photograph and resizes the crop to height x width; the aspect ratio is not preserved.

    Args:
      photo: the photograph, of mode "L" or "RGB".
      boxes: f32 [n, 4], of its digits, cxcywh in pixels of the photograph.
      kind: "photograph": the complete photograph. "crop": the box that encloses all boxes, extended by 15% of its size on
        each side and clipped at the edge of the photograph. "cropped_digit": a square around the center of the first
        box, as large as the longer side of the box; beyond the photograph, its edge pixels are repeated.
      height: height of the image, in pixels.
      width: width of the image, in pixels.
      described: name of the photograph in messages.
      further: f64 [k, 4], boxes that do not change the crop.

    Returns:
      The image, u8 [height, width] or [height, width, 3], and the boxes and further boxes in its pixels, f64 [n + k, 4].

    Raises:
      UserError: the window has no area within the photograph.
    """
    if kind == "cropped_digit":
        window = _square(boxes[0].tolist())
    elif kind == "crop":
        window = _enclosing_box(boxes.astype(np.float64), photo.size)
    else:
        assert kind == "photograph", "there is no other kind"
        window = (0.0, 0.0, float(photo.width), float(photo.height))
    left, top, right, bottom = _with_area(window, described)
    scale = np.array([width / (right - left), height / (bottom - top)])
    boxes = np.concatenate([boxes, further])
    moved = np.concatenate([(boxes[:, :2] - [left, top]) * scale, boxes[:, 2:] * scale], axis=1)
    photo, window = _with_edges(photo, window)
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR, box=window)), moved


def crop_to_number(pixels: np.ndarray, boxes: np.ndarray, described: str) -> tuple[np.ndarray, np.ndarray]:
    """Crops a photograph as `crop_photo` does for "crop", to complete pixels and without resizing.

    Args:
      pixels: u8 [h, w, 3].
      boxes: f32 [n, 4], of its digits, cxcywh in pixels of the photograph.
      described: name of the photograph in messages.

    Returns:
      The crop, u8 [height, width, 3], and the boxes in its pixels, f64 [n, 4].

    Raises:
      UserError: the crop has no area within the photograph.
    """
    box = _enclosing_box(boxes.astype(np.float64), (pixels.shape[1], pixels.shape[0]))
    edges = _with_area(box, described)
    left, top = (math.floor(edge) for edge in edges[:2])
    right, bottom = (math.ceil(edge) for edge in edges[2:])
    return pixels[top:bottom, left:right], boxes - np.array([left, top, 0.0, 0.0])


def _enclosing_box(boxes: np.ndarray, size: tuple[int, int]) -> Window:
    """Returns the box around all boxes, extended by MARGIN and clipped to a photograph of `size` (width, height)."""
    low = (boxes[:, :2] - boxes[:, 2:] / 2).min(0)
    high = (boxes[:, :2] + boxes[:, 2:] / 2).max(0)
    margin = MARGIN * (high - low)
    left, top = np.maximum(low - margin, 0).tolist()
    right, bottom = np.minimum(high + margin, size).tolist()
    return left, top, right, bottom


def _with_area(window: Window, described: str) -> Window:
    left, top, right, bottom = window
    if not (left < right and top < bottom):
        raise UserError(f"{described}: the boxes of its digits have no area within the photograph")
    return window


def _square(box: list[float]) -> Window:
    """Returns the square around the center of a box, with its longer side; it may extend beyond the photograph."""
    x, y, width, height = box
    half = max(width, height) / 2
    return x - half, y - half, x + half, y + half


def _with_edges(photo: Image.Image, window: Window) -> tuple[Image.Image, Window]:
    """Pads a photograph with its edge pixels to contain the window; returns it and the window in its pixels."""
    left, top, right, bottom = window
    x, y = min(math.floor(left), 0), min(math.floor(top), 0)
    columns = np.arange(x, max(math.ceil(right), photo.width))
    rows = np.arange(y, max(math.ceil(bottom), photo.height))
    if (len(columns), len(rows)) == photo.size:
        return photo, window
    inside = np.ix_(np.clip(rows, 0, photo.height - 1), np.clip(columns, 0, photo.width - 1))
    return Image.fromarray(np.asarray(photo)[inside]), (left - x, top - y, right - x, bottom - y)
