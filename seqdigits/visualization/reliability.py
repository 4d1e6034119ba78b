"""Draws the reliability diagram of a calibration."""

from __future__ import annotations

from typing import Any

from seqdigits.visualization import svg

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
        axes = figure.add_axes((0.08 + 0.49 * i, 0.12, 0.42, 0.42 * 9 / 4.9))
        axes.set(title=kind, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.grid()
        axes.plot((0, 1), (0, 1), color="#000000", alpha=0.45, linewidth=1, linestyle="--")
        for name, metrics in (("before", before), ("after", after)):
            bins = [b for b in metrics["reliability"][kind] if b["count"]]
            cases = sum(b["count"] for b in bins)
            confidence, accuracy = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
            value = "-" if metrics[error] is None else f"{metrics[error]:.4f}"
            label = f"{name}: calibration error {value}"
            said.append(f"{kind}, {label}")
            axes.plot(confidence, accuracy, color=_COLORS[name], linewidth=1.5, clip_on=False, label=label)
            areas = [10 + _LARGEST * b["count"] / cases for b in bins]
            axes.scatter(
                confidence, accuracy, areas, facecolors="none", edgecolors=_COLORS[name], linewidths=1.5, clip_on=False
            )
        axes.legend(loc="upper left", handlelength=1.2)
    text = svg.render(figure, f"Reliability diagram. {'; '.join(said)}.")
    # As a file of its own it chooses its colors itself, on a light or a dark screen.
    own = 'style="color-scheme: light dark; color: CanvasText; background: Canvas"'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text.replace("<svg ", f"<svg {own} ", 1)}\n'
