"""Confidence intervals of proportions and of means."""

from __future__ import annotations

import math

Z = 1.96
"""The 97.5th percentile of the normal distribution."""


def half_interval(share: float, count: int) -> float:
    """Returns half the width of the 95% interval of a proportion `share` of `count` examples (Wilson 1927).

    >>> round(half_interval(0.9, 500), 4), round(half_interval(1.0, 500), 4)
    (0.0264, 0.0038)
    """
    # Our own formula: scipy.stats.binomtest needs an integer number of successes, and the mean share of several seeds has
    # none.
    return Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Returns the 95% interval of a proportion `share` of `count` examples, low and high end (Wilson 1927).

    Its center is nearer to 1/2 than the share.

    >>> [round(end, 4) for end in wilson_interval(0.9, 10)]
    [0.5958, 0.9821]
    """
    center = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = half_interval(share, count)
    return max(0.0, center - half), min(1.0, center + half)


def normal_interval(mean: float, standard_error: float) -> tuple[float, float]:
    """Returns the 95% interval of a mean of many values, low and high end.

    >>> [round(end, 4) for end in normal_interval(2.0, 0.1)]
    [1.804, 2.196]
    """
    return mean - Z * standard_error, mean + Z * standard_error
