"""Charts that compare runs: curves, bars, histograms, reliability and coverage, each as one SVG element.

They have no legend of the runs: the page has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from seqdigits.visualization import svg
from seqdigits.visualization.charts import add_legend, new_chart

RUN_COLORS = {
    "run1": "#3a76f0",
    "run2": "#de8426",
    "run3": "#129882",
    "run4": "#b4559f",
    "run5": "#8a6d3b",
    "run6": "#d0475a",
}
"""Color of each run of a page, for light and dark pages; there are as many as a page may have runs."""

SPLIT_LINES = {"train": "-", "train_evaluated": "--", "validation": "-", "test": ":"}
"""Style of the curve of each split."""

SPLIT_NAMES = {"train": "training", "train_evaluated": "train", "validation": "validation", "test": "test"}
"""Name of each split of `metrics.jsonl` on a page: `train` has the losses of training steps."""

_NICE = (1, 2, 2.5, 5, 10)  # intervals of the ticks of axes

Line = tuple[str, str, str, np.ndarray, np.ndarray]
"""Label, color, style, x f64 [n] and y f64 [n]."""


@svg.style()
def curves(
    title: str, lines: Sequence[Line], legend: Sequence[tuple[str, str, str]] = (), *, may_be_log: bool = False
) -> str:
    """Draws values by step.

    Args:
      title: name of the metric.
      lines: one for each run and split; y may be NaN.
      legend: label, color and style of its entries.
      may_be_log: whether the axis of values is logarithmic where they span more than a factor of 30.
    """
    figure, axes = new_chart(title, "step", has_legend=bool(legend))
    values = np.concatenate([y for *_, y in lines])
    values = values[np.isfinite(values)]
    said = []
    for label, color, style, x, y in lines:
        marker = "o" if len(x) < 12 else ""
        axes.plot(x, y, style, color=color, linewidth=1.4, marker=marker, markersize=3, clip_on=False)
        said.append(f"{label}: {y[-1]:.4g} at step {int(x[-1]):,}")
    if may_be_log and len(values) and values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=_NICE))
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlim(0, max(int(x[-1]) for *_, x, _ in lines))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=_NICE))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    for label, color, style in legend:
        axes.plot([], [], style, color=color, linewidth=1.4, label=label)
    if legend:
        add_legend(figure, handlelength=1.8)
    return svg.render(figure, f"{title} by step. {'; '.join(said)}.")


def _short(value: float, _: Any = None) -> str:
    """Returns a number of an axis, such as 12k for 12,000."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:g}"


@svg.style()
def bars(
    title: str,
    names: Sequence[str],
    values: Mapping[str, tuple[str, Sequence[float | None]]],
    xlabel: str,
    highest: float | None = None,
) -> str:
    """Draws grouped bars of shares, one color for each run.

    Args:
      title: title of the chart.
      names: names of the N groups.
      values: color and N shares, 0..1, of each run; None where a run has none.
      xlabel: label of the axis of names.
      highest: end of the axis of shares; None = that of the highest bar.
    """
    figure, axes = new_chart(title, xlabel, has_legend=False)
    width = 0.8 / len(values)
    for i, (run, (color, shares)) in enumerate(values.items()):
        places = np.arange(len(names)) + (i - (len(values) - 1) / 2) * width
        drawn = axes.bar(places, [share or 0 for share in shares], width * 0.92, color=color, clip_on=False)
        for bar, name, share in zip(drawn, names, shares, strict=True):
            bar.set_gid(f"{svg.HINT}{run}, {name}: {'none' if share is None else f'{share:.1%}'}")
    axes.set_xticks(np.arange(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0, highest)
    said = (
        f"{run}: " + ", ".join(f"{n} {'-' if s is None else f'{s:.1%}'}" for n, s in zip(names, shares, strict=True))
        for run, (_, shares) in values.items()
    )
    return svg.render(figure, f"{title}. {'; '.join(said)}.")


@svg.style()
def histogram(
    title: str, values: Mapping[str, tuple[str, np.ndarray]], edges: np.ndarray, xlabel: str, *, is_log: bool = False
) -> str:
    """Draws a histogram, one stepped outline for each run; values beyond the edges are in the first and the last bin.

    Args:
      title: title of the chart.
      values: color and f64 [n] of each run; n may be 0 for a run without a box, which is left out.
      edges: f64 [bins + 1], ascending.
      xlabel: label of the axis of values, with their unit.
      is_log: whether that axis is logarithmic.
    """
    values = {run: found for run, found in values.items() if len(found[1])}
    if not values:
        return ""
    figure, axes = new_chart(title, xlabel, has_legend=False)
    said = []
    for run, (color, found) in values.items():
        counts, _ = np.histogram(np.clip(found, edges[0], edges[-1]), edges)
        axes.stairs(counts / len(found), edges, color=color, linewidth=1.4, clip_on=False)
        axes.stairs(counts / len(found), edges, color=color, alpha=0.13, fill=True, clip_on=False)
        said.append(f"{run}: median {np.median(found):.3g}")
    if is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    return svg.render(figure, f"{title}. {'; '.join(said)}.")


@svg.style()
def reliability(title: str, bins: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]]) -> str:
    """Draws accuracy over mean confidence; the area of a dot grows with the number of its cases.

    Args:
      title: title of the chart.
      bins: color and bins of each run, see ConfidenceHistogram.reliability.
    """
    figure, axes = _square(title, "confidence", "accuracy")
    axes.plot((0, 1), (0, 1), color="#000000", alpha=0.45, linewidth=1, linestyle="--")
    for color, all_bins in bins.values():
        found = [b for b in all_bins if b["count"]]
        cases = sum(b["count"] for b in found)
        x, y = [b["confidence"] for b in found], [b["accuracy"] for b in found]
        axes.plot(x, y, color=color, linewidth=1.4, clip_on=False)
        areas = [8 + 200 * b["count"] / cases for b in found]
        axes.scatter(x, y, areas, facecolors="none", edgecolors=color, linewidths=1.4, clip_on=False)
    return svg.render(figure, f"{title}: accuracy over confidence.")


@svg.style()
def coverage(title: str, found: Mapping[str, tuple[str, tuple[np.ndarray, np.ndarray]]]) -> str:
    """Draws the accuracy of the predictions kept over coverage, their share.

    Args:
      title: title of the chart.
      found: color, and coverage and accuracy f64 [n], of each run.
    """
    figure, axes = _square(title, "coverage", "accuracy of those kept")
    lowest = 1.0
    said = []
    for run, (color, (x, y)) in found.items():
        if len(x):
            axes.plot(x, y, color=color, linewidth=1.4, clip_on=False)
            lowest = min(lowest, float(y[len(y) // 20 :].min()))
            said.append(f"{run}: {y[-1]:.1%} of all")
    axes.set_ylim(max(0.0, np.floor(20 * lowest - 0.5) / 20), 1)
    return svg.render(figure, f"{title}. {'; '.join(said)}.")


def _square(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure, axes = new_chart(title, xlabel, has_legend=False)
    axes.set_title(ylabel, loc="right", fontsize=8, fontweight="normal", alpha=0.7, pad=8)
    axes.set_title(title, pad=8)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.grid(axis="x", clip_on=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    return figure, axes
