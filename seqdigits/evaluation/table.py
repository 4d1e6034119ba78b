"""Reports of several splits side by side, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqdigits.core.console import render_table


def report_table(reports: dict[str, dict[str, Any]]) -> str:
    """Returns a table of the metrics, a column for each split: as text for standard output.

    A metric that no report has is left out: reports written by older versions lack some.
    """
    return render_table(("", *reports), metric_rows(list(reports.values())))


def metric_rows(reports: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Returns the rows of such a table, each the name of a metric and its value in each report, as text."""
    metrics = (
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
    rows: list[tuple[str, ...]] = []
    for name, form in metrics:
        values = [report.get(name) for report in reports]
        if any(value is not None for value in values):
            rows.append((name, *("-" if value is None else form.format(value) for value in values)))
    lengths = sorted({n for report in reports for n in report["accuracy_by_length"]}, key=int)
    if len(lengths) > 1:
        for n in lengths:
            values = [report["accuracy_by_length"].get(n) for report in reports]
            name = f"  of {n} digit{'s' if n != '1' else ''}"
            rows.append((name, *("-" if value is None else f"{value:.4f}" for value in values)))
    return rows
