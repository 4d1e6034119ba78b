"""Pages of one HTML file that refers to no other: templates, tables, and images of examples."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from seqdigits.visualization.predictions import png


def render(template: str, **content: Any) -> str:
    """Returns a page.

    Args:
      template: a file of the folder templates.
      content: the variables of the template; each that it uses must be there.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seqdigits.visualization"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content)


@dataclass(frozen=True)
class Table:
    """A table of text: its head, and rows whose first cell names them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


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
      predicted: predicted boxes, likewise.
      is_wrong: whether the text is that of a wrong prediction.
    """

    uri: str
    alt: str
    height: int
    width: int
    boxes: list[tuple[float, float, float, float]]
    text: str
    note: str
    min_width: int
    predicted: Sequence[tuple[float, float, float, float]] = ()
    is_wrong: bool = False


def tile_width(width: int) -> int:
    """Returns the least width of a tile, in pixels of the page, given that of its image.

    >>> tile_width(28), tile_width(256)
    (88, 236)
    """
    return min(236, 60 + width)


def data_uri(image: np.ndarray) -> str:
    """Returns u8 [H, W, C], of one or three channels, as the data URI of a PNG file."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def encode(images: Sequence[np.ndarray], budget: int) -> list[str] | None:
    """Returns images as data URIs that take at most `budget` bytes together: PNG if they fit, else WebP, smaller where needed.

    Args:
      images: u8 [H, W, C], of one or three channels.
      budget: in bytes.

    Returns:
      A data URI for each image; None if they do not fit at the smallest size.
    """
    found = [data_uri(image) for image in images]
    for side, quality in _SMALLER:
        if sum(map(len, found)) <= budget:
            return found
        found = [_webp(image, side, quality) for image in images]
    return found if sum(map(len, found)) <= budget else None


_SMALLER = ((256, 85), (256, 70), (192, 70), (160, 60), (128, 55), (96, 50), (64, 45))
"""Longest side in pixels, and quality, of the WebP files of images, from the best to the smallest."""


def _webp(image: np.ndarray, side: int, quality: int) -> str:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def inline(drawn: Iterable[str]) -> list[Markup]:
    """Returns charts as what a template need not escape, without the empty ones."""
    return [Markup(chart) for chart in drawn if chart]
