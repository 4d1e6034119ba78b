"""The statement that an interval allows about one of our values beside a published one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from seqdigits.config.defaults import LOWER_IS_BETTER
from seqdigits.experiments.published import PublishedMetric, improves, ours
from seqdigits.metrics.intervals import wilson_interval

RULE = (
    "Each published figure is judged by itself. *Better*: our whole 95% interval (Wilson, of that many images) is above the published",
    "value; *worse*: all of it is below; *open*: neither. A published value counts with half a unit of its last digit, two decimals at",
    "least. Localization error and cross entropy have no interval: \\* marks a statement from the two values alone.",
)
"""The rule in Markdown, line by line, for a page that shows verdicts."""


def verdict(metric: PublishedMetric, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns better | worse | open, with * where no interval is known; "-" where ours was not measured.

    Accuracies of positions are means over images, whose variance is at most that of a share of images, so that the interval of
    the latter is used for all.

    >>> reports = {"test": {"examples": 10_000, "sequence_accuracy": 0.9834, "localization_error": 2.0}}
    >>> verdict(PublishedMetric("test", "sequence_accuracy", 0.9826), reports)
    'open'
    >>> verdict(PublishedMetric("test", "sequence_accuracy", 0.97), reports)
    'better'
    >>> verdict(PublishedMetric("test", "localization_error", 1.5), reports)
    'worse*'
    """
    value = ours(metric, reports)
    if value is None:
        return "-"
    rounding = _rounding(metric.value)
    if metric.metric in LOWER_IS_BETTER:
        if abs(value - metric.value) <= rounding:
            return "open"
        return "better*" if improves(metric, reports) else "worse*"
    low, high = wilson_interval(value, reports[metric.split]["examples"])
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
