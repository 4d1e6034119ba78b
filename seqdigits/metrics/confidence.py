"""Calibration metrics, from histograms of confidence that are summed over batches and devices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from seqdigits.metrics.reliability import DIAGRAM_BINS, ERROR_BINS, calibration_error, reliability_diagram

BINS = 512
MIN_LOGIT, MAX_LOGIT = -10.0, 16.0
"""The bins have equal widths in logit(p) = log(p / (1 - p)) between these limits.

Values beyond the limits are in the first and the last bin. The bins are finest where p is near 0 or 1, as most
confidences are. Near 1 the largest logit of an f32 is 16.6.
"""
_BIN_CENTERS = (1 / (1 + np.exp(-(MIN_LOGIT + (np.arange(BINS) + 0.5) * (MAX_LOGIT - MIN_LOGIT) / BINS)))).astype(
    np.float32
)


class ConfidenceHistogram(struct.PyTreeNode):
    """Predictions by their confidence, in BINS bins. All fields are sums, so two histograms are merged by addition.

    Attributes:
      count: i32 [BINS], predictions.
      correct: i32 [BINS], correct predictions.
      excess: f32 [BINS], sum of confidence minus the center of the bin. These differences are small, so that a long
        sum loses no precision.
    """

    count: Array
    correct: Array
    excess: Array

    def mean(self) -> np.ndarray:
        """Returns the mean confidence of each bin, f64 [BINS]; of an empty bin its center."""
        count = np.asarray(self.count)
        return _BIN_CENTERS + np.asarray(self.excess, np.float64) / np.maximum(count, 1)

    def reliability(self) -> list[dict[str, Any]]:
        """Returns the bins of the reliability diagram, see metrics.reliability."""
        return reliability_diagram(*self._rebin(DIAGRAM_BINS))

    def calibration_error(self) -> float | None:
        """Returns the expected calibration error, 0..1, or None without predictions, see metrics.reliability."""
        return calibration_error(*self._rebin(ERROR_BINS))

    def coverage(self, accuracy: float) -> float | None:
        """Returns the coverage at an accuracy (selective prediction), 0..1, or None without predictions.

        It is the largest share of predictions that can be kept, the least confident rejected first, so that at least
        `accuracy` of those kept are correct (Goodfellow et al. 2013, arXiv:1312.6082). Predictions of one of the BINS
        bins are kept or rejected together.
        """
        kept, correct = (np.cumsum(np.asarray(x)[::-1].astype(np.int64)) for x in (self.count, self.correct))
        enough = kept[(kept > 0) & (correct >= (accuracy - 1e-9) * kept)]  # 98 of 100 reach 0.98 despite rounding
        return float(enough.max(initial=0) / kept[-1]) if kept[-1] else None

    def selective_accuracy(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the accuracy of the predictions kept, by coverage: two arrays f64 [n], coverage ascending to 1.

        The least confident predictions are rejected first; those of one bin are kept or rejected together. Empty without
        predictions.
        """
        kept, correct = (np.cumsum(np.asarray(x)[::-1].astype(np.int64)) for x in (self.count, self.correct))
        is_new = np.diff(kept, prepend=0) > 0
        return kept[is_new] / max(kept[-1], 1), correct[is_new] / kept[is_new]

    def _rebin(self, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns sums of confidence, correct predictions and predictions in bins of equal width, each [bins]."""
        mean, count = self.mean(), np.asarray(self.count)
        index = np.clip((mean * bins).astype(int), 0, bins - 1)
        return (
            np.bincount(index, mean * count, bins),
            np.bincount(index, np.asarray(self.correct), bins),
            np.bincount(index, count, bins),
        )


def confidence_histogram(confidence: Array, correct: Array, mask: Array) -> ConfidenceHistogram:
    """Returns the histogram of predictions; the three arrays have one shape, which is arbitrary.

    Args:
      confidence: f32, 0..1. NaN counts as 0.
      correct: bool.
      mask: bool, which predictions are counted.

    >>> found = confidence_histogram(jnp.array([0.9, 0.9, 0.6]), jnp.array([True, False, True]), jnp.array([True, True, False]))
    >>> int(found.count.sum()), int(found.correct.sum()), round(found.calibration_error(), 4)
    (2, 1, 0.4)
    """
    p = jnp.clip(jnp.nan_to_num(confidence.ravel()), 0.0, 1.0)
    index = (jax.scipy.special.logit(p) - MIN_LOGIT) * (BINS / (MAX_LOGIT - MIN_LOGIT))
    index = jnp.clip(index, 0, BINS - 1).astype(jnp.int32)
    counted = mask.ravel()
    zero = jnp.zeros(BINS, jnp.int32)
    return ConfidenceHistogram(
        count=zero.at[index].add(counted.astype(jnp.int32)),
        correct=zero.at[index].add((correct.ravel() & counted).astype(jnp.int32)),
        excess=jnp.zeros(BINS).at[index].add(jnp.where(counted, p - jnp.asarray(_BIN_CENTERS)[index], 0.0)),
    )
