"""The progress of a series of experiments, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from seqdigits.core.console import render_table
from seqdigits.core.progress import duration
from seqdigits.experiments import results
from seqdigits.experiments.results import Result
from seqdigits.experiments.run import Run

_COLUMNS = ("experiment", "state", "steps", "minutes", "metric", "ours", "published", "improves")


def progress_table(runs: Sequence[Run]) -> str:
    """Returns the progress of each run, and our test metrics beside the published ones: as text for standard output.

    Metrics of validation stand in for those of test where only they were published.
    """
    table = render_table(_COLUMNS, (row for run in runs for row in _rows(run)), align="llrrlrrl")
    return "\n".join([table, *(f"\n{run.name} failed: {run.problem}" for run in runs if run.problem)])


def _rows(run: Run) -> list[tuple[str, ...]]:
    steps, minutes = _steps_and_minutes(run)
    planned = f"{run.planned:,}" if run.config is not None else "?"
    start = (run.name, run.state, f"{steps:,}/{planned}", f"{minutes:.1f}" if steps else "-")
    metrics = _metrics(run) or [("-", "-", "-", "-")]
    return [(*start, *metrics[0]), *(("", "", "", "", *row) for row in metrics[1:])]


def _steps_and_minutes(run: Run) -> tuple[int, float]:
    if run.result is not None:
        return run.result.steps, run.result.minutes
    steps, seconds = results.progress(run.workdir)
    return steps, seconds / 60


def _metrics(run: Run) -> list[tuple[str, str, str, str]]:
    """Returns metric, ours, published, improves; ours alone where nothing was published."""
    if run.published is None or not run.published.metrics:
        report = run.result.reports.get("test", {}) if run.result else {}
        names = [name for name in ("sequence_accuracy", "localization_error") if report.get(name) is not None]
        return [(f"test {name}", _number(report[name], name), "-", "-") for name in names]
    published = run.published.metrics
    measured = _measured(run.result) if run.result else {}
    rows = []
    for metric in [metric for metric in published if metric.split == "test"] or published:
        value, improves = measured.get((metric.split, metric.metric), (None, None))
        verdict = "-" if improves is None else "yes" if improves else "no"
        rows.append((f"{metric.split} {metric.metric}", _number(value, metric.metric), f"{metric.value:g}", verdict))
    return rows


def _measured(result: Result) -> dict[tuple[str, str], tuple[float | None, bool | None]]:
    """Returns our value and whether it improves on the published one, by split and metric."""
    metrics = result.published.metrics if result.published else []
    return {(metric.split, metric.metric): (metric.ours, metric.improves) for metric in metrics}


def _number(value: float | None, metric: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} px²" if metric == "localization_error" else f"{value:.4f}"


def time_left(runs: Sequence[Run]) -> list[str]:
    """Returns a line on the waiting runs, with the time left as soon as a run of this series was trained."""
    waiting = [run for run in runs if run.state == "waiting"]
    if not waiting:
        return []
    steps = sum(max(0, run.steps - results.progress(run.workdir)[0]) for run in waiting)
    line = f"{len(waiting)} waiting, {steps:,} steps"
    trained = [run.result for run in runs if run.result is not None and run.state in ("done", "partial")]
    if not trained:
        return [line]
    second = 60 * sum(result.minutes for result in trained) / sum(result.steps for result in trained)
    return [f"{line}: about {duration(steps * second)} at {second:.3f} s per step, the mean so far"]
