"""The statement that an interval allows about one of our values beside a published one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from seqdigits.config.defaults import LOWER_IS_BETTER
from seqdigits.experiments.published import PublishedMetric, improves, ours
from seqdigits.metrics.intervals import wilson_interval

RULE = (
    "Each published figure is judged by itself. *Better*: our whole 95% interval is above the published value; *worse*: all of it is below;",
    "*open*: neither. The interval is that of a share of the evaluated images; accuracies of digits and positions, which vary less, have the",
    "same. A published value counts with half a unit of its last digit, two decimals at least. Localization error and cross entropy have no",
    "interval: \\* marks a statement without one. Where an experiment was run with several seeds their mean is judged: what would be better",
    "or worse, but is no farther from the published value than the standard deviation of the seeds, is *within spread*, and counts as open.",
    "*Best of N*: it is not published which of N networks has the value, so that none of ours is judged by it.",
)
"""The rule in Markdown, line by line, for a page that shows verdicts."""


WITHIN_SPREAD = "within spread"
"""The verdict on a difference that another seed could undo."""


def verdict(
    metric: PublishedMetric,
    reports: Mapping[str, Mapping[str, Any]],
    spreads: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Returns better | worse | open | within spread; the first two with * where no interval is known.

    Args:
      metric: the published value.
      reports: our metrics by split; of several seeds the means.
      spreads: the standard deviations of the seeds, in the form of `reports`; None for one seed.

    Returns:
      "-" where ours was not measured, or the published value is that of the best of several networks.

    Accuracies of positions are means over images, whose variance is at most that of a share of images, so that the interval of
    the latter is used for all.

    >>> reports = {"test": {"examples": 10_000, "sequence_accuracy": 0.9834, "localization_error": 2.0}}
    >>> verdict(PublishedMetric("test", "sequence_accuracy", 0.9826), reports)
    'open'
    >>> verdict(PublishedMetric("test", "sequence_accuracy", 0.97), reports)
    'better'
    >>> verdict(PublishedMetric("test", "localization_error", 1.5), reports)
    'worse*'
    >>> verdict(PublishedMetric("test", "sequence_accuracy", 0.97), reports, {"test": {"sequence_accuracy": 0.014}})
    'within spread'
    """
    value = ours(metric, reports)
    if value is None or metric.best_of > 1:
        return "-"
    rounding = _rounding(metric.value)
    spread = ours(metric, spreads or {})
    judged = _judge(metric, value, rounding, reports)
    return WITHIN_SPREAD if judged != "open" and abs(value - metric.value) <= (spread or 0.0) + rounding else judged


def interval(metric: PublishedMetric, reports: Mapping[str, Mapping[str, Any]]) -> tuple[float, float] | None:
    """Returns the 95% interval of our value that a verdict is based on, low and high end; None where none is known or nothing is judged.

    Args:
      metric: the published value.
      reports: our metrics by split; of several seeds the means.

    >>> reports = {"test": {"examples": 10_000, "sequence_accuracy": 0.9834, "localization_error": 2.0}}
    >>> [round(end, 4) for end in interval(PublishedMetric("test", "sequence_accuracy", 0.9826), reports)]
    [0.9807, 0.9857]
    >>> interval(PublishedMetric("test", "localization_error", 1.5), reports)
    """
    value = ours(metric, reports)
    if value is None or metric.best_of > 1 or metric.metric in LOWER_IS_BETTER:
        return None
    return wilson_interval(value, reports[metric.split]["examples"])


def _judge(metric: PublishedMetric, value: float, rounding: float, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the verdict on one value, without a spread."""
    ends = interval(metric, reports)
    if ends is None:
        if abs(value - metric.value) <= rounding:
            return "open"
        return "better*" if improves(metric, reports) else "worse*"
    low, high = ends
    if low > metric.value + rounding:
        return "better"
    return "worse" if high < metric.value - rounding else "open"


def _rounding(value: float) -> float:
    """Returns half a unit of the last digit of a printed value.

    >>> _rounding(0.9826), _rounding(0.8), _rounding(312.7)
    (5e-05, 0.005, 0.05)
    """
    exponent = Decimal(repr(value)).as_tuple().exponent
    decimals = -exponent if isinstance(exponent, int) else 0
    return 0.5 * 10.0 ** -(decimals if value > 1 else max(2, decimals))
