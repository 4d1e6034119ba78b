"""Images on the inspection page: examples with their boxes, and statistics of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqdigits.core.types import digits_to_text
from seqdigits.inspection import checks
from seqdigits.inspection.statistics import Example
from seqdigits.visualization.html import Tile, data_uri, tile_width


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


def stretch(values: np.ndarray) -> np.ndarray:
    """Stretches f64 [H, W, C] linearly to u8 of 0..255.

    >>> stretch(np.array([[[1.0], [2.0]], [[3.0], [1.5]]])).ravel().tolist()
    [0, 128, 255, 64]
    """
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
