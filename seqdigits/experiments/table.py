"""The progress of a series of experiments, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from seqdigits.core.console import render_table
from seqdigits.core.progress import duration
from seqdigits.experiments import results
from seqdigits.experiments.published import ours
from seqdigits.experiments.run import Run, name_of
from seqdigits.experiments.seeds import SeedGroup, groups_by_name, settings_without_seed
from seqdigits.experiments.verdict import verdict

_COLUMNS = ("experiment", "state", "steps", "minutes", "metric", "ours", "published", "beside it")


def progress_table(runs: Sequence[Run]) -> str:
    """Returns the progress of each run, and our test metrics beside the published ones: as text for standard output.

    Metrics of validation stand in for those of test where only they were published.
    """
    groups = _groups(runs)
    table = render_table(_COLUMNS, (row for run in runs for row in _rows(run, groups.get(run.name))), align="llrrlrrl")
    return "\n".join([table, *(f"\n{run.name} {run.state}: {run.problem}" for run in runs if run.problem)])


_SEED_COLUMNS = ("experiment", "seeds", "metric", "mean", "spread", "published", "beside it")


def seeds_table(runs: Sequence[Run]) -> list[str]:
    """Returns a table of the mean and the standard deviation of each metric over several seeds; nothing for one seed."""
    rows: list[tuple[str, ...]] = []
    for group in dict.fromkeys(_groups(runs).values()):
        run = next(run for run in runs if run.result is group.results[0])
        metrics = _metrics(run, group)
        for number, (metric, _, published, judged) in enumerate(metrics):
            split, name = metric.split(" ")
            mean, spread = (_number(ours(split, name, reports), name) for reports in (group.means, group.spreads))
            head = ("", "") if number else (name_of(run.base, settings_without_seed(group.results[0])), group.seeds)
            rows.append((*head, metric, mean, spread, published, judged))
    return [render_table(_SEED_COLUMNS, rows, align="lllrrrl")] if rows else []


def _groups(runs: Sequence[Run]) -> dict[str, SeedGroup]:
    return groups_by_name(run.result for run in runs if run.result is not None)


_STATES = ("done before", "done", "partial", "stopped", "in use", "failed", "waiting")


def summary(runs: Sequence[Run]) -> str:
    """Returns a line with the number of runs in each state."""
    states = [run.state for run in runs]
    return ", ".join(f"{states.count(state)} {state}" for state in _STATES if state in states)


def _rows(run: Run, group: SeedGroup | None) -> list[tuple[str, ...]]:
    steps, minutes = _steps_and_minutes(run)
    planned = f"{run.planned:,}" if run.config is not None else "?"
    start = (run.name, run.state, f"{steps:,}/{planned}", f"{minutes:.1f}" if steps else "-")
    metrics = _metrics(run, group) or [("-", "-", "-", "-")]
    return [(*start, *metrics[0]), *(("", "", "", "", *row) for row in metrics[1:])]


def _steps_and_minutes(run: Run) -> tuple[int, float]:
    if run.result is not None:
        return run.result.steps, run.result.minutes
    steps, seconds = results.progress(run.workdir)
    return steps, seconds / 60


def _metrics(run: Run, group: SeedGroup | None) -> list[tuple[str, str, str, str]]:
    """Returns metric, ours, published, the verdict; ours alone where nothing was published.

    Of several seeds the verdict is on their mean.
    """
    if run.published is None or not run.published.metrics:
        report = run.result.reports.get("test", {}) if run.result else {}
        names = [name for name in ("sequence_accuracy", "localization_error") if report.get(name) is not None]
        return [(f"test {name}", _number(report[name], name), "-", "-") for name in names]
    published = run.published.metrics
    reports = run.result.reports if run.result else {}
    rows = []
    for metric in [metric for metric in published if metric.split == "test"] or published:
        means, spreads = (group.means, group.spreads) if group else (reports, {})
        judged = verdict(metric, means, spreads) if run.result and run.result.comparable else "-"
        value = _number(ours(metric.split, metric.metric, reports), metric.metric)
        shown = metric.printed + (f" ({metric.unjudged})" if metric.unjudged else "")
        rows.append((f"{metric.split} {metric.metric}", value, shown, judged))
    return rows


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
