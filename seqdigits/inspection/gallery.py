"""Pictures of examples for the inspection page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from seqdigits.core.types import digits_to_text
from seqdigits.inspection import checks
from seqdigits.inspection.statistics import Example
from seqdigits.visualization.charts import data_uri, picture


def example(one: Example, note: str = "") -> str:
    """A picture with its true boxes, and below it what stands there."""
    height, width, _ = one.image.shape
    reads = digits_to_text(one.digits) or "nothing"
    good = checks.has_valid_box(one.digits, one.boxes)
    boxes = "".join(
        f'<rect x="{x - w / 2:.2f}" y="{y - h / 2:.2f}" width="{w:.2f}" height="{h:.2f}"/>'
        for x, y, w, h in one.boxes[good].tolist()
    )
    alt = f"{one.split} {one.index}: {reads}"
    blocky = " blocky" if width < 128 else ""
    return (
        f'<figure class="example"><div class="frame{blocky}" style="aspect-ratio:{width}/{height}">'
        f'<img src="{data_uri(picture(one.image))}" alt="{escape(alt)}" loading="lazy">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{boxes}</svg></div>'
        f"<figcaption><b>{escape(reads)}</b> <span>{escape(note or f'{one.index:,}')}</span></figcaption></figure>"
    )


def gallery(examples: Sequence[Example], notes: Sequence[str] = ()) -> str:
    """Pictures side by side, as many in a row as there is room for."""
    if not examples:
        return ""
    width = tile(examples[0].image.shape[1])
    said = notes or [""] * len(examples)
    return f'<div class="gallery" style="--tile:{width}px">' + "".join(map(example, examples, said)) + "</div>"


def tile(width: int) -> int:
    """How wide a picture of so many pixels is shown, at least, in pixels of the page.

    >>> tile(28), tile(256)
    (88, 236)
    """
    return min(236, 60 + width)
