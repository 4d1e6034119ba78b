"""How far the experiments of a series are, as a table."""

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
    return [(*start, *metrics[0]), *(("", "", "", "", *figure) for figure in metrics[1:])]


def _steps_and_minutes(run: Run) -> tuple[int, float]:
    if run.result is not None:
        return run.result.steps, run.result.minutes
    steps, seconds = results.progress(run.workdir)
    return steps, seconds / 60


def _metrics(run: Run) -> list[tuple[str, str, str, str]]:
    """Name, ours, published, beaten; ours alone where nothing was published."""
    if run.published is None or not run.published.metrics:
        report = run.result.reports.get("test", {}) if run.result else {}
        names = [name for name in ("sequence_accuracy", "localization_error") if report.get(name) is not None]
        return [(f"test {name}", _number(report[name], name), "-", "-") for name in names]
    metrics = run.published.metrics
    found = _found(run.result) if run.result else {}
    rows = []
    for figure in [figure for figure in metrics if figure.split == "test"] or metrics:
        value, is_beaten = found.get((figure.split, figure.metric), (None, None))
        verdict = "-" if is_beaten is None else "yes" if is_beaten else "no"
        rows.append((f"{figure.split} {figure.metric}", _number(value, figure.metric), f"{figure.value:g}", verdict))
    return rows


def _found(result: Result) -> dict[tuple[str, str], tuple[float | None, bool | None]]:
    metrics = result.published.metrics if result.published else []
    return {(figure.split, figure.metric): (figure.ours, figure.improves) for figure in metrics}


def _number(value: float | None, metric: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} px²" if metric == "localization_error" else f"{value:.4f}"


def time_left(runs: Sequence[Run]) -> list[str]:
    """A line on what waits; with a time as soon as one was trained here to tell from."""
    waiting = [run for run in runs if run.state == "waiting"]
    if not waiting:
        return []
    steps = sum(max(0, run.steps - results.progress(run.workdir)[0]) for run in waiting)
    line = f"{len(waiting)} to go, {steps:,} steps"
    trained = [run.result for run in runs if run.result is not None and run.state in ("done", "partial")]
    if not trained:
        return [line]
    second = 60 * sum(result.minutes for result in trained) / sum(result.steps for result in trained)
    return [f"{line}: about {duration(steps * second)} if a step takes as long as it did so far, {second:.3f} s"]
