"""The reliability diagram and the calibration error, from sums over bins of equal width of confidence."""

from __future__ import annotations

from typing import Any

import numpy as np

DIAGRAM_BINS = 10
ERROR_BINS = 15


def reliability_diagram(confidence: np.ndarray, correct: np.ndarray, count: np.ndarray) -> list[dict[str, Any]]:
    """Returns the bins of the reliability diagram, the lowest first.

    Each bin has `confidence` and `accuracy`, means over its predictions or None if it is empty, and `count`.

    Args:
      confidence: f64 [DIAGRAM_BINS], the sum of confidence in each bin.
      correct: [DIAGRAM_BINS], the number of correct predictions.
      count: [DIAGRAM_BINS], the number of predictions.
    """
    return [
        {"confidence": float(s / n) if n else None, "accuracy": float(r / n) if n else None, "count": int(n)}
        for s, r, n in zip(confidence, correct, count, strict=True)
    ]


def calibration_error(confidence: np.ndarray, correct: np.ndarray, count: np.ndarray) -> float | None:
    """Returns the expected calibration error, 0..1, or None without predictions.

    It is the mean over the predictions of |accuracy - confidence| of their bin (Guo et al. 2017, arXiv:1706.04599).

    Args:
      confidence: f64 [ERROR_BINS], the sum of confidence in each bin.
      correct: [ERROR_BINS], the number of correct predictions.
      count: [ERROR_BINS], the number of predictions.

    >>> calibration_error(np.array([0.0, 1.8]), np.array([0, 1]), np.array([0, 2]))
    0.4
    """
    return float(np.abs(correct - confidence).sum() / count.sum()) if count.sum() else None
