"""Draws what mattered in a search: the importance of each parameter, and the score over its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from seqdigits.visualization import svg

_COLORS = {"complete": "#3a76f0", "pruned": "#de8426", "best": "#129882"}
"""Color of each state, for light and dark screens."""
_PANEL, _GAP, _MARGIN = (2.7, 1.75), (0.62, 0.72), (0.75, 0.45)  # inches: width and height; left and top of the figure
_LEGEND = 0.4  # inches below the panels
_COLUMNS = 3
_LONGEST = 16  # characters of a label
_MAX_TICKS = 5
"""A range with so many values has a tick for each."""

Value = bool | int | float | str


@dataclass(frozen=True)
class Axis:
    """A parameter of a search.

    Attributes:
      name: of the parameter.
      values: its value in each of the N trials; None where a trial has none yet.
      is_log: whether its axis is logarithmic.
      choices: its values, if it is not a range; () = a range.
      importance: its share of all importance, 0..1; None = unknown.
    """

    name: str
    values: Sequence[Value | None]
    is_log: bool
    choices: tuple[Value, ...]
    importance: float | None


@svg.style()
def what_mattered(
    axes: Sequence[Axis], scores: Sequence[float | None], states: Sequence[str], best: int, metric: str
) -> str:
    """Draws importances as bars, and for each parameter the scores over its values, as an SVG file.

    Args:
      axes: the parameters.
      scores: of the N trials; None where a trial has none.
      states: complete, pruned, failed or running, of each trial; only the first two are drawn.
      best: the index of the best trial.
      metric: name of the score.
    """
    ordered = sorted(axes, key=lambda axis: -(axis.importance or 0.0))
    rows = -(-(len(axes) + 1) // _COLUMNS)
    width = _MARGIN[0] + _COLUMNS * _PANEL[0] + (_COLUMNS - 1) * _GAP[0] + 0.15
    height = _MARGIN[1] + rows * (_PANEL[1] + _GAP[1]) - _GAP[1] / 2 + _LEGEND
    figure = Figure(figsize=(width, height))

    def panel(index: int) -> Axes:
        row, column = divmod(index, _COLUMNS)
        left = _MARGIN[0] + column * (_PANEL[0] + _GAP[0])
        top = _MARGIN[1] + row * (_PANEL[1] + _GAP[1])
        return figure.add_axes((left / width, 1 - (top + _PANEL[1]) / height, _PANEL[0] / width, _PANEL[1] / height))

    _draw_importances(panel(0), ordered)
    for index, axis in enumerate(ordered, 1):
        drawn = panel(index)
        _draw_scores(drawn, axis, scores, states, best)
        if index % _COLUMNS == 0 or index == 1:
            drawn.set_title(metric, loc="right", fontsize=8, fontweight="normal", alpha=0.7)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=_COLORS["complete"], label="complete"),
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markerfacecolor="none",
            color=_COLORS["pruned"],
            label="pruned, its best so far",
        ),
        Line2D([], [], linestyle="", marker="D", color=_COLORS["best"], label="best"),
    ]
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(_MARGIN[0] / width - 0.02, 0), ncols=3)
    said = ", ".join(f"{axis.name} {_share(axis.importance)}" for axis in ordered)
    return svg.render_file(figure, f"Importance of each parameter: {said}. Then {metric} over the values of each.")


def _share(importance: float | None) -> str:
    return "-" if importance is None else f"{importance:.0%}"


def _draw_importances(axes: Axes, ordered: Sequence[Axis]) -> None:
    """Draws the importances as horizontal bars, names and shares above each, largest first."""
    axes.set_title("importance")
    places = np.arange(len(ordered))[::-1]
    bars = axes.barh(places - 0.22, [axis.importance or 0.0 for axis in ordered], 0.34, color=_COLORS["complete"])
    for bar, place, axis in zip(bars, places, ordered, strict=True):
        bar.set_gid(f"{svg.HINT}{axis.name}: {_share(axis.importance)}")
        axes.text(0, place + 0.2, f"{axis.name}  {_share(axis.importance)}", va="center", fontsize=8)
    axes.set_xlim(0, max(0.01, *(axis.importance or 0.0 for axis in ordered)))
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    if all(axis.importance is None for axis in ordered):
        axes.text(0, -0.55, "known from four complete trials on", fontsize=8, alpha=0.7)


def _draw_scores(axes: Axes, axis: Axis, scores: Sequence[float | None], states: Sequence[str], best: int) -> None:
    """Draws a dot for each trial that has a score: the value of a parameter, and the score."""
    axes.set_title(axis.name)
    axes.grid(axis="y")
    for trial, (value, score, state) in enumerate(zip(axis.values, scores, states, strict=True)):
        if value is None or score is None or state not in ("complete", "pruned"):
            continue
        kind = "best" if trial == best else state
        x = _place(axis, value, trial)
        (dot,) = axes.plot(
            [x],
            [score],
            linestyle="",
            marker="D" if kind == "best" else "o",
            markersize=6 if kind == "best" else 4.5,
            markerfacecolor="none" if kind == "pruned" else _COLORS[kind],
            markeredgecolor=_COLORS[kind],
            zorder=3 if kind == "best" else 2,
            clip_on=False,
        )
        dot.set_gid(f"{svg.HINT}trial {trial}, {state}: {value} gives {score:.4f}")
    if axis.choices:
        axes.set_xticks(range(len(axis.choices)), [_cut(str(choice)) for choice in axis.choices])
        axes.set_xlim(-0.5, len(axis.choices) - 0.5)
    elif axis.is_log:
        axes.set_xscale("log")
        left, right = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if right < left * 1_000 else (1,), numticks=6))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=isinstance(axis.values[best], int), steps=(1, 2, 5, 10)))
        values = sorted({float(value) for value in axis.values if value is not None})
        if len(values) <= _MAX_TICKS:
            axes.set_xticks(values)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _place(axis: Axis, value: Value, trial: int) -> float:
    """Returns the place of a value; trials with the same choice are beside each other, so that none hides another."""
    if axis.choices:
        index = [(type(choice), choice) for choice in axis.choices].index((type(value), value))
        return index + 0.24 * (trial % 5 - 2) / 2
    return float(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
