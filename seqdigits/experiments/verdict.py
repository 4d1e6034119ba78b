"""The statement that an interval allows about one of our values beside a published one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqdigits.config.defaults import LOWER_IS_BETTER
from seqdigits.experiments.published import PublishedMetric, ours
from seqdigits.metrics.intervals import normal_interval, wilson_interval

RULE = (
    "Each published figure is judged by itself. *Better*: our whole 95% interval is above the published value; *worse*: all of it is below;",
    "*open*: neither. For a published error, *better* is below. The interval is that of a share of the evaluated images (Wilson); accuracies",
    "of digits, positions and outputs get the same one, though they vary less. That of a localization error or a cross entropy is 1.96 standard",
    "errors to both sides; \\* marks a statement about a run that did not measure it. Images of one set may show the same digits, which no interval",
    "takes into account. A published value counts with half a unit of its last printed digit.",
    "Where an experiment was run with several seeds their mean is judged, with the mean of their standard errors: what would be better or worse,",
    "but is no farther from the published value than the standard deviation of the seeds, is *within spread*, and counts as open.",
    "A published value with a reason in parentheses, such as *best of 4*, is not judged.",
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
      "-" where ours was not measured, or nothing is judged by the published value.

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
    value = ours(metric.split, metric.metric, reports)
    if value is None or metric.unjudged:
        return "-"
    rounding = 0.5 * 10.0**-metric.decimals
    spread = ours(metric.split, metric.metric, spreads or {})
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
    >>> interval(PublishedMetric("test", "iou", 0.9), {"test": {"examples": 9}})
    """
    value = ours(metric.split, metric.metric, reports)
    if value is None or metric.unjudged:
        return None
    if metric.metric in LOWER_IS_BETTER:
        error = reports[metric.split].get(f"{metric.metric}_standard_error")
        return None if error is None else normal_interval(value, error)
    return wilson_interval(value, reports[metric.split]["examples"])


def _judge(metric: PublishedMetric, value: float, rounding: float, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the verdict on one value, without a spread."""
    ends = interval(metric, reports)
    if ends is None:
        if abs(value - metric.value) <= rounding:
            return "open"
        is_better = value < metric.value if metric.metric in LOWER_IS_BETTER else value > metric.value
        return "better*" if is_better else "worse*"
    low, high = ends
    is_above, is_below = low > metric.value + rounding, high < metric.value - rounding
    if metric.metric in LOWER_IS_BETTER:
        is_above, is_below = is_below, is_above
    return "better" if is_above else "worse" if is_below else "open"
