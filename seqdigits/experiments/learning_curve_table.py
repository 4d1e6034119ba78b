"""The table and the chart of learning curves."""

from __future__ import annotations

from collections.abc import Sequence

from seqdigits.experiments.learning_curve import Curve, Point
from seqdigits.visualization.learning_curves import Panel, Value, draw

NAMES = {"scene": "initialized from scene", "random": "initialized at random"}
"""The initializations, as the chart names them."""


def table(curves: Sequence[Curve]) -> str:
    """Returns the points of several folders as Markdown."""
    lines = [
        "Share of the test pictures whose number is read completely, with its 95% interval (Wilson).",
        "",
        "| pictures | test pictures | training pictures | initialized from `scene` | at random | steps | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for curve in curves:
        sizes = sorted({point.pictures for point in curve.points})
        for size in sizes:
            points = {point.initialization: point for point in curve.points if point.pictures == size}
            cells = [_cell(points[name]) if name in points else "" for name in NAMES]
            some = next(iter(points.values()))
            minutes = " + ".join(f"{point.minutes:.1f}" for point in points.values()) if size else ""
            row = (curve.name, f"{some.examples:,}", f"{size:,}", *cells, f"{some.steps:,}" if size else "", minutes)
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _cell(point: Point) -> str:
    return f"{point.accuracy:.3f} ({point.interval[0]:.3f} to {point.interval[1]:.3f})"


def chart(curves: Sequence[Curve]) -> bytes:
    """Draws the curves as a PNG file, a panel for each folder."""

    def value(point: Point) -> Value:
        return Value(point.accuracy, *point.interval)

    panels = []
    for curve in curves:
        lines = {
            label: {p.pictures: value(p) for p in curve.points if p.initialization == name and p.pictures}
            for name, label in NAMES.items()
        }
        untrained = next((value(point) for point in curve.points if not point.pictures), None)
        panels.append(Panel(f"{curve.name}, {curve.pictures['test']:,} test pictures", lines, untrained))
    return draw(panels)
