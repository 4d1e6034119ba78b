"""The scores of an engine on labeled pictures as text for standard output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seqdigits.core.console import render_table

ALL = "all"


def score_tables(scores: dict[str, Any], min_confidence: float) -> str:
    """Returns the tables: numbers by subfolder, thresholds of confidence, and pictures without a number if there are any.

    Args:
      scores: see `pictures.score_folders`.
      min_confidence: one of the thresholds of the scores; its precision is in the first table.
    """
    rows = {**scores["folders"], ALL: scores["all"]}
    tables = [_numbers(rows.items(), min_confidence)] if scores["all"]["pictures"] else []
    tables.append(_thresholds(scores["all"]))
    if scores["all"]["no_number"]["pictures"]:
        tables.append(_no_number(rows.items(), min_confidence))
    return "\n\n".join(tables)


def _numbers(rows: Iterable[tuple[str, dict[str, Any]]], min_confidence: float) -> str:
    columns = ("folder", "numbers", "right", "95% interval", "length right", "part read", "nothing read", "among all")
    more = (f"read at {min_confidence:g}", f"precision at {min_confidence:g}", "calibration error", "ms", "ms 90%")
    return render_table(
        (*columns, *more),
        (
            (
                name,
                f"{found['pictures']:,}",
                share(found["right"]),
                interval(found["right_interval"]),
                *(share(found[key]) for key in ("length_right", "part_read", "nothing_read", "among_all")),
                *(
                    share(_at(found, min_confidence)[key])
                    for key in (
                        "read",
                        "precision",
                    )
                ),
                share(found["calibration_error"]),
                *_milliseconds(found),
            )
            for name, found in rows
            if found["pictures"]
        ),
    )


def _thresholds(found: dict[str, Any]) -> str:
    columns = ("min confidence", "read", "precision", "false answers")
    return render_table(
        columns,
        (
            (f"{at['min_confidence']:g}", *(share(at[key]) for key in ("read", "precision", "false_answers")))
            for at in found["thresholds"]
        ),
    )


def _no_number(rows: Iterable[tuple[str, dict[str, Any]]], min_confidence: float) -> str:
    columns = ("folder", "pictures without a number", "false answers", "95% interval", f"false at {min_confidence:g}")
    return render_table(
        (*columns, "ms", "ms 90%"),
        (
            (
                name,
                f"{found['no_number']['pictures']:,}",
                share(found["no_number"]["false_answers"]),
                interval(found["no_number"]["false_answers_interval"]),
                share(_at(found, min_confidence)["false_answers"]),
                *_milliseconds(found),
            )
            for name, found in rows
            if found["no_number"]["pictures"]
        ),
    )


def _at(found: dict[str, Any], min_confidence: float) -> dict[str, Any]:
    return next(at for at in found["thresholds"] if at["min_confidence"] == min_confidence)


def _milliseconds(found: dict[str, Any]) -> tuple[str, str]:
    time = found["milliseconds"]
    return f"{time['median']:,.0f}", f"{time['percentile_90']:,.0f}"


def share(value: float | None) -> str:
    """Returns a share as text, "-" if nothing was counted."""
    return "-" if value is None else f"{value:.3f}"


def interval(ends: list[float] | None) -> str:
    """Returns an interval as text, "-" if nothing was counted.

    >>> interval([0.5958, 0.9821])
    '0.596 to 0.982'
    """
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
