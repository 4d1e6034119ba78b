"""Runs of one experiment that differ in their seed alone: the mean and the spread of each metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from seqdigits.config.saved import complete_config, diff_results
from seqdigits.experiments.results import Result

Reports = dict[str, dict[str, Any]]
"""Metrics by split and name, as in a Result; a metric by position is a list."""


@dataclass(frozen=True, eq=False)
class SeedGroup:
    """The results of one experiment with several seeds, and their statistics.

    Attributes:
      results: at least two, one per seed, in the order of the seeds.
      means: the mean of each metric; None where a seed lacks it. `examples` is the smallest number of any seed.
      spreads: the standard deviation of each metric, with n - 1 in the denominator.
    """

    results: tuple[Result, ...]
    means: Reports
    spreads: Reports

    @property
    def seeds(self) -> str:
        """Returns the seeds as text: "0, 1, 2"."""
        return ", ".join(str(result.seed) for result in self.results)


def seed_groups(results: Iterable[Result]) -> list[SeedGroup]:
    """Returns the groups of results that differ in their seed alone, in the order of the first result of each.

    A result belongs to none if no other has its experiment, settings and steps.
    """
    groups: list[dict[int, Result]] = []
    for result in results:
        group = next((g for g in groups if _differ_in_seed_alone(next(iter(g.values())), result)), None)
        if group is None:
            groups.append({result.seed: result})
        else:
            group.setdefault(result.seed, result)
    return [_with_statistics([group[seed] for seed in sorted(group)]) for group in groups if len(group) > 1]


def groups_by_name(results: Iterable[Result]) -> dict[str, SeedGroup]:
    """Returns the group of each result that has one, by the name of the result."""
    return {result.name: group for group in seed_groups(results) for result in group.results}


def settings_without_seed(result: Result) -> dict[str, Any]:
    """Returns the settings that all seeds share."""
    return {key: value for key, value in result.settings.items() if key != "seed"}


def _differ_in_seed_alone(a: Result, b: Result) -> bool:
    if a.name.split("+")[0] != b.name.split("+")[0] or a.steps != b.steps:
        return False
    differences = diff_results(complete_config(a.config, Path(a.name)), b.config)
    return all(line.startswith("seed:") for line in differences)


def _with_statistics(results: Sequence[Result]) -> SeedGroup:
    reports = [result.reports for result in results]
    return SeedGroup(tuple(results), _of_each_metric(reports, fmean), _of_each_metric(reports, stdev))


def _of_each_metric(
    reports: Sequence[Mapping[str, Mapping[str, Any]]], function: Callable[[list[float]], float]
) -> Reports:
    """Returns a statistic of each metric over several reports.

    >>> _of_each_metric([{"test": {"examples": 9, "iou": 0.5}}, {"test": {"examples": 8, "iou": 1.0}}], fmean)
    {'test': {'iou': 0.75, 'examples': 8}}
    """
    found: Reports = {}
    for split in reports[0]:
        of_split = [report.get(split, {}) for report in reports]
        found[split] = {name: _statistic([report.get(name) for report in of_split], function) for name in of_split[0]}
        found[split].pop("examples", None)
        if all("examples" in report for report in of_split):
            found[split]["examples"] = min(report["examples"] for report in of_split)
    return found


def _statistic(values: list[Any], function: Callable[[list[float]], float]) -> Any:
    """Returns a statistic of numbers, or of each position of lists of numbers; None for anything else."""
    if all(isinstance(value, int | float) for value in values):
        return function(values)
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return [_statistic(list(column), function) for column in zip(*values, strict=True)]
    return None
