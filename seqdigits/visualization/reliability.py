"""Draws the reliability diagrams of calibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seqdigits.visualization import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"before": "#e08a24", "after": "#12a06a"}  # on both light and dark
_LARGEST = 260.0  # square points: area of a dot that stands for all cases
_PANELS = (("digits", "digit_calibration_error"), ("numbers", "calibration_error"))


@svg.style()
def reliability(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Draws accuracy over mean confidence, digits at the left, numbers at the right, as an SVG file.

    A dot is one bin of confidence; its area grows with the number of cases. On the diagonal, predictions are well
    calibrated.

    Args:
      before: metrics with `reliability`, `calibration_error` and `digit_calibration_error`.
      after: likewise.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.9))
    said = []
    for i, (kind, error) in enumerate(_PANELS):
        axes = _panel(figure, (0.08 + 0.49 * i, 0.12, 0.42, 0.42 * 9 / 4.9), kind)
        for name, metrics in (("before", before), ("after", after)):
            label = f"{name}: {_error_text(metrics[error])}"
            _draw(axes, metrics["reliability"][kind], label, _COLORS[name])
            said.append(f"{kind}, {label}")
        axes.legend(loc="upper left", handlelength=1.2)
    return svg.render_file(figure, f"Reliability diagram. {'; '.join(said)}.")


@svg.style()
def number_reliability(bins: list[dict[str, Any]], calibration_error: float | None) -> str:
    """Draws accuracy over mean confidence of numbers, see `reliability`, as an SVG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.9, 4.9))
    axes = _panel(figure, (0.12, 0.12, 0.8, 0.8), "numbers")
    label = _error_text(calibration_error)
    _draw(axes, bins, label, _COLORS["after"])
    axes.legend(loc="upper left", handlelength=1.2)
    return svg.render_file(figure, f"Reliability diagram. numbers, {label}.")


def _panel(figure: Figure, place: tuple[float, float, float, float], title: str) -> Axes:
    axes = figure.add_axes(place)
    axes.set(title=title, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.grid()
    axes.plot((0, 1), (0, 1), color="#000000", alpha=0.45, linewidth=1, linestyle="--")
    return axes


def _error_text(error: float | None) -> str:
    return f"calibration error {'-' if error is None else f'{error:.4f}'}"


def _draw(axes: Axes, bins: list[dict[str, Any]], label: str, color: str) -> None:
    bins = [b for b in bins if b["count"]]
    cases = sum(b["count"] for b in bins)
    confidence, accuracy = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
    axes.plot(confidence, accuracy, color=color, linewidth=1.5, clip_on=False, label=label)
    areas = [10 + _LARGEST * b["count"] / cases for b in bins]
    axes.scatter(confidence, accuracy, areas, facecolors="none", edgecolors=color, linewidths=1.5, clip_on=False)
