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
