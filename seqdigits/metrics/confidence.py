"""How far confidences can be trusted, from histograms that are summed over batches and devices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

BINS = 512
LEAST, MOST = -10.0, 16.0
"""The bins are equally wide in log(p / (1 - p)), between these; what is beyond is in the first and the last. So they are
finest where confidence is near 0 or 1, as most is: near 1 an f32 ends at 16.6."""
_MIDDLES = (1 / (1 + np.exp(-(LEAST + (np.arange(BINS) + 0.5) * (MOST - LEAST) / BINS)))).astype(np.float32)


class ConfidenceHistogram(struct.PyTreeNode):
    """Cases by their confidence, in BINS bins. All are sums, so that two of them are added.

    Attributes:
      count, right: i32 [BINS], cases, and those of them that are right.
      beyond: f32 [BINS], sum of how much the confidence is beyond that of the bin's middle: small, so that no digit of a long
        sum is lost.
    """

    count: Array
    right: Array
    beyond: Array

    def mean(self) -> np.ndarray:
        """Mean confidence of each bin, f64 [BINS]; of an empty one that of its middle."""
        count = np.asarray(self.count)
        return _MIDDLES + np.asarray(self.beyond, np.float64) / np.maximum(count, 1)

    def reliability(self, bins: int = 10) -> list[dict[str, Any]]:
        """What is said and what is true, in equally wide bins of confidence, the least first: confidence and accuracy, means
        over the cases in it, None where there are none, and their count."""
        said, right, count = self._coarse(bins)
        return [
            {
                "confidence": float(s / n) if n else None,
                "accuracy": float(r / n) if n else None,
                "count": int(n),
            }
            for s, r, n in zip(said, right, count, strict=True)
        ]

    def calibration_error(self, bins: int = 15) -> float | None:
        """The expected calibration error (Guo et al. 2017, arXiv:1706.04599): |accuracy - confidence| in equally wide bins
        of confidence, their mean over the cases; 0..1. None without cases."""
        said, right, count = self._coarse(bins)
        return float(np.abs(right - said).sum() / count.sum()) if count.sum() else None

    def coverage(self, accuracy: float) -> float | None:
        """The largest share of cases that can be kept, the least confident refused first, so that at least `accuracy` of
        those kept is right (Goodfellow et al. 2013, arXiv:1312.6082). Cases of one fine bin are kept or refused together.
        None without cases."""
        kept, right = (np.cumsum(np.asarray(x)[::-1].astype(np.int64)) for x in (self.count, self.right))
        enough = kept[(kept > 0) & (right >= (accuracy - 1e-9) * kept)]  # 98 of 100 are 0.98, whatever it rounds to
        return float(enough.max(initial=0) / kept[-1]) if kept[-1] else None

    def _coarse(self, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums of confidence, right cases and cases, each [bins]."""
        mean, count = self.mean(), np.asarray(self.count)
        at = np.clip((mean * bins).astype(int), 0, bins - 1)
        return (
            np.bincount(at, mean * count, bins),
            np.bincount(at, np.asarray(self.right), bins),
            np.bincount(at, count, bins),
        )


def confidence_histogram(confidence: Array, right: Array, counts: Array) -> ConfidenceHistogram:
    """The histogram of cases of any shape: confidence f32, right bool, and bool whether it counts at all. What is not a
    number is a confidence of 0.

    >>> found = confidence_histogram(jnp.array([0.9, 0.9, 0.6]), jnp.array([True, False, True]), jnp.array([True, True, False]))
    >>> int(found.count.sum()), int(found.right.sum()), round(found.calibration_error(), 4)
    (2, 1, 0.4)
    """
    said = jnp.clip(jnp.nan_to_num(confidence.ravel()), 0.0, 1.0)
    place = (jax.scipy.special.logit(said) - LEAST) * (BINS / (MOST - LEAST))
    place = jnp.clip(place, 0, BINS - 1).astype(jnp.int32)
    counted = counts.ravel()
    zero = jnp.zeros(BINS, jnp.int32)
    return ConfidenceHistogram(
        count=zero.at[place].add(counted.astype(jnp.int32)),
        right=zero.at[place].add((right.ravel() & counted).astype(jnp.int32)),
        beyond=jnp.zeros(BINS).at[place].add(jnp.where(counted, said - jnp.asarray(_MIDDLES)[place], 0.0)),
    )
