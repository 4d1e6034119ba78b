"""Contents of those sections of the inspection page that have charts: labels, boxes and pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seqdigits.inspection.findings import plural
from seqdigits.inspection.gallery import make_tiles, stretch
from seqdigits.inspection.statistics import Best, SplitStatistics
from seqdigits.visualization import charts
from seqdigits.visualization.html import Table, Tile, data_uri, inline


def labels(statistics: Sequence[SplitStatistics]) -> dict[str, Any]:
    """Returns what the section on lengths and digits shows."""
    spec = statistics[0].spec
    digits = {s.split: s.digits.sum(0) for s in statistics}
    drawn = [charts.bars("Digits", [str(digit) for digit in range(10)], digits, "digit")]
    present = np.flatnonzero(np.sum([s.lengths for s in statistics], 0))
    low, high = min(spec.min_length, *present.tolist()), max(spec.max_length, *present.tolist())
    if low < high:
        lengths = {s.split: s.lengths[low : high + 1] for s in statistics}
        drawn.insert(0, charts.bars("Length", [str(n) for n in range(low, high + 1)], lengths, "number of digits"))
    positions = {s.split: [_shares(count) for count in s.digits] for s in statistics} if spec.max_length > 1 else {}
    return {"charts": inline(drawn), "positions": positions}


def _shares(count: np.ndarray) -> dict[str, Any]:
    """Returns the row of a table of shares: i64 [10] at one position; the opacity is full at 30%."""
    share = count / max(count.sum(), 1)
    cells = [
        (f"{100 * part:.0f}" if n else "", f"{min(part / 0.3, 1):.2f}", f"{n:,}")
        for part, n in zip(share, count, strict=True)
    ]
    return {"cells": cells, "total": f"{count.sum():,}"}


def boxes(statistics: Sequence[SplitStatistics]) -> dict[str, Any] | None:
    """Returns what the section on boxes shows; None where no box is known."""
    if not statistics:
        return None
    low, high = np.min([s.size_low for s in statistics], 0), np.max([s.size_high for s in statistics], 0)
    centers = {(int(x) * s.cell, int(y) * s.cell) for s in statistics for y, x in np.argwhere(s.centers)}
    maps = [charts.density(s.split, s.centers, s.cell, f"Box centers of {s.split}") for s in statistics]
    sizes = [
        charts.histogram(title, {s.split: s.sizes[axis] for s in statistics}, "pixels")
        for axis, title in enumerate(("Box width", "Box height"))
    ]
    rows = [
        (
            f"{s.split}, {name}",
            f"{s.size_low[axis]:.1f}",
            *(f"{s.quantile(axis, share):,}" for share in (0.05, 0.5, 0.95)),
            f"{s.size_high[axis]:.1f}",
            f"{s.size_sum[axis] / s.boxes:.1f}",
        )
        for axis, name in enumerate(("width", "height"))
        for s in statistics
    ]
    return {
        "cell": " or ".join(plural(cell, "pixel") for cell in dict.fromkeys(s.cell for s in statistics)),
        "place": next(iter(centers)) if len(centers) == 1 else None,
        "maps": list(zip([s.split for s in statistics], inline(maps), strict=True)),
        "size": (f"{low[0]:g}", f"{low[1]:g}") if np.array_equal(low, high) else None,
        "charts": inline(sizes),
        "table": Table(("pixels", "min", "5%", "median", "95%", "max", "mean"), rows),
        "extremes": [(s.split, make_tiles(s.smallest.examples), make_tiles(s.largest.examples)) for s in statistics],
        "more": [
            ("Farthest across the image border", _all_splits(s.over for s in statistics)),
            ("Boxes not in the order of the digits", _all_splits(s.disorder for s in statistics)),
        ],
    }


def _all_splits(kept: Iterable[Best]) -> list[Tile]:
    examples = [example for best in kept for example in best.examples]
    return make_tiles(examples, [f"{example.split} {example.index:,}" for example in examples])


def pixels(statistics: Sequence[SplitStatistics]) -> dict[str, Any]:
    """Returns what the section on pixel values shows."""
    height, width, _ = statistics[0].spec.image
    images = {
        "Mean image": [_image(s.split, s.mean) for s in statistics],
        "Standard deviation of each pixel": [_image(s.split, s.deviation) for s in statistics],
    }
    rows = [
        (s.split, *(f"{value:.2f}" for value in s.pixels), f"{s.low}", f"{s.high}", f"{s.notes['plain']:,}")
        for s in statistics
    ]
    brightness = charts.histogram(
        "Mean brightness of an image", {s.split: s.brightness for s in statistics}, "mean pixel value"
    )
    return {
        "height": height,
        "width": width,
        "images": images,
        "charts": inline([brightness]),
        "table": Table(("all pixels", "mean", "std", "min", "max", "one color"), rows),
    }


def _image(split: str, values: np.ndarray) -> dict[str, Any]:
    """Returns f64 [H, W, C], a statistic of each pixel, as an image with its range."""
    return {
        "split": split,
        "uri": data_uri(stretch(values)),
        "height": values.shape[0],
        "width": values.shape[1],
        "range": f"{values.min():.1f} to {values.max():.1f}",
    }
