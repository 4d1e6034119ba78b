"""Confidence intervals of proportions."""

from __future__ import annotations

import math


def half_interval(share: float, count: int) -> float:
    """Returns half the width of the 95% interval of a proportion `share` of `count` examples (Wilson 1927).

    >>> round(half_interval(0.9, 500), 4), round(half_interval(1.0, 500), 4)
    (0.0264, 0.0038)
    """
    # Our own formula: scipy.stats.binomtest needs an integer number of successes, and the mean share of several seeds has
    # none.
    z = 1.96
    return z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Returns the 95% interval of a proportion `share` of `count` examples, low and high end (Wilson 1927).

    Its center is nearer to 1/2 than the share.

    >>> [round(end, 4) for end in wilson_interval(0.9, 10)]
    [0.5958, 0.9821]
    """
    z = 1.96
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = half_interval(share, count)
    return max(0.0, center - half), min(1.0, center + half)
