"""Scores the answers of an engine to labeled pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqdigits.evaluation.answers import Answer
from seqdigits.metrics.intervals import wilson_interval
from seqdigits.metrics.reliability import DIAGRAM_BINS, ERROR_BINS, calibration_error, reliability_diagram

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
"""Minimum confidences at which precision is always reported."""


def score(truths: Sequence[str], answers: Sequence[Answer], min_confidence: float) -> dict[str, Any]:
    """Scores answers; pictures without a number are scored apart, in `no_number`.

    Args:
      truths: the number of each picture; "" = none.
      answers: to the same pictures.
      min_confidence: threshold of confidence, 0..1, that is reported beside THRESHOLDS.

    Returns:
      Shares are 0..1, and None where there is no picture to count:
      pictures: pictures with a number.
      right, right_interval: share of numbers that are read completely, and its 95% interval [low, high].
      length_right: share with as many digits as the number.
      part_read: share where the answer is a proper part of the number, of adjacent digits.
      nothing_read: share without an answer.
      among_all: share where the number is among all numbers found.
      calibration_error, reliability: of the pictures with a number and an answer, see `calibration`.
      thresholds: for each threshold, `min_confidence`; `read`, the share of pictures with an answer at least as
        confident; `precision`, the share of these that are right; `false_answers`, the share of the pictures without a
        number that have such an answer.
      no_number: of the pictures without a number: `pictures`; `false_answers`, the share with an answer, and
        `false_answers_interval`.
      milliseconds: `median` and `percentile_90` of all pictures.
    """
    numbered = [(truth, answer) for truth, answer in zip(truths, answers, strict=True) if truth]
    false = [answer for truth, answer in zip(truths, answers, strict=True) if not truth]
    right = np.array([answer.number == truth for truth, answer in numbered], bool)
    has_answer = np.array([bool(answer.number) for _, answer in numbered], bool)
    confidence = np.array([answer.confidence for _, answer in numbered])
    is_false = np.array([bool(answer.number) for answer in false], bool)
    false_confidence = np.array([answer.confidence for answer in false])

    def at(threshold: float) -> dict[str, float | None]:
        is_read = has_answer & (confidence >= threshold)
        return {
            "min_confidence": threshold,
            "read": _share(is_read),
            "precision": _share(right[is_read]),
            "false_answers": _share(is_false & (false_confidence >= threshold)),
        }

    time = np.array([answer.milliseconds for answer in answers])
    return {
        "pictures": len(numbered),
        "right": _share(right),
        "right_interval": _interval(right),
        "length_right": _share([len(answer.number or "") == len(truth) for truth, answer in numbered]),
        "part_read": _share([is_part(answer.number, truth) for truth, answer in numbered]),
        "nothing_read": _share(~has_answer),
        "among_all": _share([truth in (answer.number, *answer.numbers) for truth, answer in numbered]),
        **calibration(confidence[has_answer], right[has_answer]),
        "thresholds": [at(threshold) for threshold in sorted({*THRESHOLDS, min_confidence})],
        "no_number": {
            "pictures": len(false),
            "false_answers": _share(is_false),
            "false_answers_interval": _interval(is_false),
        },
        "milliseconds": {
            "median": float(np.median(time)) if len(time) else None,
            "percentile_90": float(np.percentile(time, 90)) if len(time) else None,
        },
    }


def is_part(number: str | None, truth: str) -> bool:
    """Returns whether a number is a proper part of the true one, of adjacent digits.

    >>> is_part("35", "352"), is_part("32", "352"), is_part("352", "352"), is_part(None, "352")
    (True, False, False, False)
    """
    return bool(number) and number != truth and str(number) in truth


def calibration(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Returns `calibration_error` and the bins of the `reliability` diagram, see metrics.reliability.

    Args:
      confidence: f64 [n], 0..1.
      right: bool [n].
    """

    def sums(bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index = np.clip((confidence * bins).astype(int), 0, bins - 1)
        return np.bincount(index, confidence, bins), np.bincount(index, right, bins), np.bincount(index, None, bins)

    return {
        "calibration_error": calibration_error(*sums(ERROR_BINS)),
        "reliability": reliability_diagram(*sums(DIAGRAM_BINS)),
    }


def _share(which: np.ndarray | Sequence[bool]) -> float | None:
    return float(np.mean(which)) if len(which) else None


def _interval(which: np.ndarray) -> list[float] | None:
    return list(wilson_interval(float(which.mean()), len(which))) if len(which) else None
