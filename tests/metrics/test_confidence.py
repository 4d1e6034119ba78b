"""Tests of calibration metrics by hand: reliability, calibration error, coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.metrics.confidence import BINS, confidence_histogram

# Ten predictions: 3 of 4 at 0.95 are correct, 2 of 3 at 0.75, none of 3 at 0.25.
CONFIDENCE = np.array([0.95] * 4 + [0.75] * 3 + [0.25] * 3)
CORRECT = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], bool)


def histogram(confidence, correct):
    return jax.device_get(
        confidence_histogram(jnp.array(confidence), jnp.array(correct), jnp.ones(len(confidence), bool))
    )


def test_reliability_by_hand():
    bins = histogram(CONFIDENCE, CORRECT).reliability()
    assert [b["count"] for b in bins] == [0, 0, 3, 0, 0, 0, 0, 3, 0, 4]
    assert bins[0] == {"confidence": None, "accuracy": None, "count": 0}
    assert bins[2] == {"confidence": pytest.approx(0.25), "accuracy": 0.0, "count": 3}
    assert bins[7] == {"confidence": pytest.approx(0.75), "accuracy": pytest.approx(2 / 3), "count": 3}
    assert bins[9] == {"confidence": pytest.approx(0.95), "accuracy": 0.75, "count": 4}


def test_calibration_error_by_hand():
    by_hand = (4 * (0.95 - 3 / 4) + 3 * (0.75 - 2 / 3) + 3 * 0.25) / 10
    assert histogram(CONFIDENCE, CORRECT).calibration_error() == pytest.approx(by_hand, abs=1e-6)
    assert histogram(np.zeros(0), np.zeros(0, bool)).calibration_error() is None


def test_coverage_by_hand():
    confidence = np.array([0.99, 0.98, 0.97, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    correct = np.array([1, 1, 1, 0, 1, 1, 1, 1, 0, 0], bool)
    found = histogram(confidence, correct)
    assert found.coverage(0.98) == 0.3
    assert found.coverage(0.8) == 0.8  # 7 of 8; of 9, 7 are 0.78
    assert found.coverage(0.75) == 0.9
    assert found.coverage(0.7) == 1.0  # exactly
    assert found.coverage(0.0) == 1.0
    assert histogram(confidence, ~correct).coverage(0.98) == 0.0
    assert histogram(np.zeros(0), np.zeros(0, bool)).coverage(0.98) is None


def test_coverage_keeps_equal_confidences_together():
    assert histogram([0.9] * 4, np.array([1, 1, 1, 0], bool)).coverage(0.98) == 0.0


def test_calibration_error_of_calibrated_confidence_is_zero():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=200_000)
    correct = rng.uniform(size=confidence.size) < confidence
    found = histogram(confidence, correct)
    assert found.calibration_error() < 0.005
    assert histogram(
        confidence, rng.uniform(size=confidence.size) < confidence**2
    ).calibration_error() == pytest.approx(1 / 6, abs=0.01)


def test_histogram_merges_and_masks():
    first, second = histogram(CONFIDENCE[:3], CORRECT[:3]), histogram(CONFIDENCE[3:], CORRECT[3:])
    full = histogram(CONFIDENCE, CORRECT)
    merged = jax.tree.map(np.add, first, second)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-7), merged, full))
    half = confidence_histogram(jnp.array(CONFIDENCE), jnp.array(CORRECT), jnp.arange(10) < 3)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-7), half, first))


def test_histogram_at_the_limits_and_with_nan():
    found = histogram([0.0, 1.0, np.nan, 1e-9, 1 - 1e-9], np.array([0, 1, 1, 0, 1], bool))
    assert (found.count[0], found.count[BINS - 1], found.count.sum()) == (3, 2, 5)
    bins = found.reliability()
    assert bins[0]["confidence"] == pytest.approx(1e-9 / 3, abs=1e-9)
    assert bins[9]["confidence"] == pytest.approx(1.0)


def test_selective_accuracy_rejects_the_least_confident_first():
    coverage, accuracy = histogram(CONFIDENCE, CORRECT).selective_accuracy()
    assert coverage.tolist() == [0.4, 0.7, 1.0]
    np.testing.assert_allclose(accuracy, [3 / 4, 5 / 7, 5 / 10])
    assert [len(x) for x in histogram(CONFIDENCE[:0], CORRECT[:0]).selective_accuracy()] == [0, 0]
