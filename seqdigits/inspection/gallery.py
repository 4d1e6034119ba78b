"""Images on the inspection page: examples with their boxes, and statistics of pixels."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from seqdigits.core.types import digits_to_text
from seqdigits.inspection import checks
from seqdigits.inspection.statistics import Example
from seqdigits.visualization.predictions import png


@dataclass(frozen=True)
class Tile:
    """An example for the page.

    Attributes:
      uri: the image as a data URI.
      alt: description for screen readers.
      height, width: size of the image, in pixels.
      boxes: left, top, width and height of each true box, in pixels of the image.
      text: the label.
      note: text after the label.
      min_width: minimum width of the tile, in pixels of the page.
    """

    uri: str
    alt: str
    height: int
    width: int
    boxes: list[tuple[float, float, float, float]]
    text: str
    note: str
    min_width: int


def make_tile(example: Example, note: str = "") -> Tile:
    """Returns the tile of an example; `note` replaces its index."""
    height, width, _ = example.image.shape
    text = digits_to_text(example.digits) or "nothing"
    boxes = example.boxes[checks.has_valid_box(example.digits, example.boxes)].tolist()
    return Tile(
        uri=data_uri(example.image),
        alt=f"{example.split} {example.index}: {text}",
        height=height,
        width=width,
        boxes=[(x - w / 2, y - h / 2, w, h) for x, y, w, h in boxes],
        text=text,
        note=note or f"{example.index:,}",
        min_width=tile_width(width),
    )


def make_tiles(examples: Sequence[Example], notes: Sequence[str] = ()) -> list[Tile]:
    """Returns the tiles of some examples, each with its note."""
    return list(map(make_tile, examples, notes or [""] * len(examples)))


def tile_width(width: int) -> int:
    """Returns the least width of a tile, in pixels of the page, given that of its image.

    >>> tile_width(28), tile_width(256)
    (88, 236)
    """
    return min(236, 60 + width)


def stretch(values: np.ndarray) -> np.ndarray:
    """Stretches f64 [H, W, C] linearly to u8 of 0..255.

    >>> stretch(np.array([[[1.0], [2.0]], [[3.0], [1.5]]])).ravel().tolist()
    [0, 128, 255, 64]
    """
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)


def data_uri(image: np.ndarray) -> str:
    """Returns u8 [H, W, C], of one or three channels, as the data URI of a PNG file."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()
