"""Reports of several splits side by side, as text."""

from __future__ import annotations

from typing import Any


def report_table(reports: dict[str, dict[str, Any]]) -> str:
    """The figures of several splits side by side, as text."""
    rows = (
        ("examples", "{:,}"),
        ("sequence_accuracy", "{:.4f}"),
        ("character_accuracy", "{:.4f}"),
        ("digit_accuracy", "{:.4f}"),
        ("length_accuracy", "{:.4f}"),
        ("number_recall", "{:.4f}"),
        ("number_precision", "{:.4f}"),
        ("localization_error", "{:.2f} px²"),
        ("center_error", "{:.2f} px"),
        ("iou", "{:.4f}"),
        ("cross_entropy", "{:.4f}"),
        ("calibration_error", "{:.4f}"),
        ("coverage_at_98", "{:.4f}"),
    )
    lines = [" " * 20 + "".join(f"{split:>14}" for split in reports)]
    for name, form in rows:
        values = [metrics.get(name) for metrics in reports.values()]  # an old report has not all
        if any(v is not None for v in values):
            cells = ("-" if v is None else form.format(v) for v in values)
            lines.append(f"{name:<20}" + "".join(f"{cell:>14}" for cell in cells))
    lengths = sorted({n for metrics in reports.values() for n in metrics["accuracy_by_length"]}, key=int)
    if len(lengths) > 1:
        for n in lengths:
            cells = (metrics["accuracy_by_length"].get(n) for metrics in reports.values())
            name = f"  of {n} digit{'s' if n != '1' else ''}"
            lines.append(f"{name:<20}" + "".join("-".rjust(14) if c is None else f"{c:14.4f}" for c in cells))
    return "\n".join(lines)
