"""Charts that compare the splits of a data set: bars, histograms and maps of counts, each as one SVG element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from seqdigits.visualization import svg

COLORS = {"train": "#3a76f0", "validation": "#de8426", "test": "#129882"}
"""Color of each split, for light and dark pages."""

_WIDTH, _AXES_HEIGHT = 4.6, 1.42  # inches
_LEFT, _RIGHT = 0.55, 0.2  # inches around the axes
_MAX_BINS = 48
_TAIL = 0.998


@svg.style()
def bars(title: str, names: Sequence[str], counts: Mapping[str, np.ndarray], xlabel: str) -> str:
    """Draws grouped bars: the share of each name in each split, one color per split.

    Args:
      title: title of the chart.
      names: names of the N groups of bars.
      counts: i64 [N] of each split.
      xlabel: label of the axis of names.
    """
    shares = {split: count / max(count.sum(), 1) for split, count in counts.items()}
    figure, axes = new_chart(title, xlabel)
    width = 0.8 / len(shares)
    places = np.arange(len(names))
    for i, (split, share) in enumerate(shares.items()):
        offset = (i - (len(shares) - 1) / 2) * width
        drawn = axes.bar(places + offset, share, width * 0.92, color=COLORS[split], label=split, clip_on=False)
        for bar, name, part, count in zip(drawn, names, share, counts[split], strict=True):
            bar.set_gid(f"{svg.HINT}{name}, {split}: {part:.1%} ({count:,})")
    axes.set_xticks(places, names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(bottom=0)
    add_legend(figure)
    said = (
        f"{split}: " + ", ".join(f"{name} {part:.1%}" for name, part in zip(names, share, strict=True)) + "."
        for split, share in shares.items()
    )
    return svg.render(figure, f"{title}. {' '.join(said)}")


@svg.style()
def histogram(title: str, counts: Mapping[str, np.ndarray], xlabel: str) -> str:
    """Draws a histogram of integers, one stepped outline per split; empty where there is nothing to count.

    The largest 0.2% of the values are left out where they would compress the others; the title then says so.

    Args:
      title: title of the chart.
      counts: i64 [N] of each split, the number of values 0, 1, 2 ..; N may differ between splits.
      xlabel: label of the axis of values, with their unit.
    """
    size = max(len(count) for count in counts.values())
    counts = {split: np.pad(count, (0, size - len(count))) for split, count in counts.items()}
    present = np.flatnonzero(sum(counts.values()))
    if not len(present):
        return ""
    first, last = int(present[0]), int(present[-1])
    tail = max(int(np.searchsorted(np.cumsum(count), _TAIL * count.sum())) for count in counts.values())
    figure, axes = new_chart(title, xlabel)
    if tail < last:
        last = tail
        axes.set_title("without the largest 0.2%", loc="right", fontsize=8, fontweight="normal", alpha=0.7)
    step = -(-(last - first + 1) // _MAX_BINS)
    edges = np.arange(first, last + 1 + step, step)
    said = []
    for split, count in counts.items():
        share = np.add.reduceat(np.pad(count, (0, step))[: edges[-1]], edges[:-1]) / max(count.sum(), 1)
        said.append(f"{split}: most often {edges[int(share.argmax())]}")
        color = COLORS[split]
        faint = to_rgba(color, 0.14)
        # Bins are centered on their integers.
        axes.stairs(
            share, edges - 0.5, fill=True, facecolor=faint, edgecolor=color, linewidth=1.2, label=split, clip_on=False
        )
    axes.set_xlim(edges[0] - 0.5, edges[-1] - 0.5)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    add_legend(figure)
    return svg.render(figure, f"{title}, {xlabel}. {'; '.join(said)}.")


@svg.style()
def density(split: str, counts: np.ndarray, cell: int, label: str) -> str:
    """Draws a two-dimensional histogram as a map of the image: opacity grows with the square root of the count.

    Args:
      split: the split, which sets the color.
      counts: i64 [rows, columns].
      cell: side of a cell, in pixels of the image.
      label: description for screen readers.
    """
    height, width = (cell * n for n in counts.shape)
    across = min(3.0, 2.6 * width / height)  # inches; no map is much higher than 2.6
    down = across * height / width
    left, below, margin = 0.42, 0.24, 0.1
    size = (left + across + margin, below + down + margin)
    figure = Figure(figsize=size)
    axes = figure.add_axes((left / size[0], below / size[1], across / size[0], down / size[1]))
    colors = LinearSegmentedColormap.from_list(split, [to_rgba(COLORS[split], 0), to_rgba(COLORS[split], 1)])
    axes.imshow(
        counts,
        cmap=colors,
        norm=PowerNorm(0.5, 0, max(int(counts.max()), 1)),
        extent=(0, width, height, 0),
        interpolation="none",
        clip_on=False,
    )
    axes.spines[:].set(visible=True, alpha=0.35)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(max(2, round(2 * down)), integer=True))
    return svg.render(figure, label)


def new_chart(title: str, xlabel: str, *, has_legend: bool = True) -> tuple[Figure, Axes]:
    """Returns a chart whose axis of values shows percent, with space for a legend if it has one; within svg.style."""
    bottom, top = 0.78 if has_legend else 0.5, 0.3  # inches: below, the names of bars, the label and the legend
    height = _AXES_HEIGHT + bottom + top
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_axes((_LEFT / _WIDTH, bottom / height, 1 - (_LEFT + _RIGHT) / _WIDTH, _AXES_HEIGHT / height))
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.spines.left.set_visible(False)
    axes.grid(axis="y", clip_on=False)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    return figure, axes


def add_legend(figure: Figure, handlelength: float = 0.8) -> None:
    """Adds the legend of the labels of a chart, below it, in rows of three; the length of lines is in font sizes."""
    place = (_LEFT / _WIDTH - 0.02, -0.02)
    figure.legend(loc="lower left", bbox_to_anchor=place, ncols=len(COLORS), handlelength=handlelength)
