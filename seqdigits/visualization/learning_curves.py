"""The chart of learning curves: accuracy by number of training pictures, one panel for each set of pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator

from seqdigits.visualization import svg

_COLORS = ("#3a76f0", "#de8426")
_WIDTH, _HEIGHT, _DPI = 4.4, 3.5, 150  # of a panel, in inches; dots per inch


class Value(NamedTuple):
    """An accuracy, and the two ends of its 95% interval."""

    accuracy: float
    low: float
    high: float


class Panel(NamedTuple):
    """One set of pictures.

    Attributes:
      title: its name.
      lines: by label, at most two: the value of each number of training pictures.
      untrained: the value of the pretrained weights without training; None if unknown.
    """

    title: str
    lines: Mapping[str, Mapping[int, Value]]
    untrained: Value | None


@svg.style()
def draw(panels: Sequence[Panel]) -> bytes:
    """Draws the panels side by side, with a common axis of accuracy from 0 to 1; returns a PNG file."""
    figure = Figure(figsize=(_WIDTH * len(panels), _HEIGHT), layout="constrained")
    axes_of = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(axes_of, panels, strict=True):
        axes.set_title(panel.title)
        axes.set_xlabel("training pictures")
        axes.set_xscale("log")
        axes.grid(axis="y")
        sizes = sorted({size for line in panel.lines.values() for size in line})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        for (label, line), color in zip(panel.lines.items(), _COLORS, strict=False):
            x = sorted(line)
            y = np.array([line[size] for size in x]).reshape(-1, 3)  # [n, 3]
            ends = np.abs(y[:, 1:] - y[:, :1]).T  # [2, n]
            axes.errorbar(
                x, y[:, 0], ends, color=color, marker="o", markersize=4, linewidth=1.4, capsize=3, label=label
            )
        if panel.untrained is not None:
            accuracy, low, high = panel.untrained
            axes.axhspan(low, high, color=_COLORS[0], alpha=0.12, linewidth=0)
            axes.axhline(accuracy, color=_COLORS[0], linestyle="--", linewidth=1.2, label="scene, not trained further")
    first = axes_of[0]
    first.set_ylim(0, 1)
    first.yaxis.set_major_locator(MultipleLocator(0.2))
    first.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    first.set_ylabel("test numbers read completely")
    handles, names = first.get_legend_handles_labels()
    columns = 3 if len(panels) > 1 else 1  # one panel is narrower than three labels
    figure.legend(handles, names, loc="outside lower center", ncols=columns, handlelength=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
