"""Confidence by hand: reliability, calibration error, coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.metrics.confidence import BINS, confidence_histogram

# Ten cases: four at 0.95 of which three are right, three at 0.75 of which two are, three at 0.25 of which none is.
SAID = np.array([0.95] * 4 + [0.75] * 3 + [0.25] * 3)
RIGHT = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], bool)


def histogram(said, right):
    return jax.device_get(confidence_histogram(jnp.array(said), jnp.array(right), jnp.ones(len(said), bool)))


def test_reliability_of_ten_cases():
    bins = histogram(SAID, RIGHT).reliability()
    assert [b["count"] for b in bins] == [0, 0, 3, 0, 0, 0, 0, 3, 0, 4]
    assert bins[0] == {"confidence": None, "accuracy": None, "count": 0}
    assert bins[2] == {"confidence": pytest.approx(0.25), "accuracy": 0.0, "count": 3}
    assert bins[7] == {"confidence": pytest.approx(0.75), "accuracy": pytest.approx(2 / 3), "count": 3}
    assert bins[9] == {"confidence": pytest.approx(0.95), "accuracy": 0.75, "count": 4}


def test_calibration_error_of_ten_cases():
    by_hand = (4 * (0.95 - 3 / 4) + 3 * (0.75 - 2 / 3) + 3 * 0.25) / 10
    assert histogram(SAID, RIGHT).calibration_error() == pytest.approx(by_hand, abs=1e-6)
    assert histogram(np.zeros(0), np.zeros(0, bool)).calibration_error() is None


def test_coverage_of_ten_cases():
    said = np.array([0.99, 0.98, 0.97, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    right = np.array([1, 1, 1, 0, 1, 1, 1, 1, 0, 0], bool)
    found = histogram(said, right)
    assert found.coverage(0.98) == 0.3
    assert found.coverage(0.8) == 0.8  # 7 of 8; of 9, 7 are 0.78
    assert found.coverage(0.75) == 0.9
    assert found.coverage(0.7) == 1.0  # just so
    assert found.coverage(0.0) == 1.0
    assert histogram(said, ~right).coverage(0.98) == 0.0
    assert histogram(np.zeros(0), np.zeros(0, bool)).coverage(0.98) is None


def test_cases_alike_are_kept_or_refused_together():
    assert histogram([0.9] * 4, np.array([1, 1, 1, 0], bool)).coverage(0.98) == 0.0


def test_what_says_what_is_true_has_no_error():
    rng = np.random.default_rng(0)
    said = rng.uniform(size=200_000)
    right = rng.uniform(size=said.size) < said
    found = histogram(said, right)
    assert found.calibration_error() < 0.005
    assert histogram(said, rng.uniform(size=said.size) < said**2).calibration_error() == pytest.approx(1 / 6, abs=0.01)


def test_two_halves_merged_are_the_whole_and_what_does_not_count_is_left_out():
    first, second = histogram(SAID[:3], RIGHT[:3]), histogram(SAID[3:], RIGHT[3:])
    whole = histogram(SAID, RIGHT)
    merged = jax.tree.map(np.add, first, second)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-7), merged, whole))
    half = confidence_histogram(jnp.array(SAID), jnp.array(RIGHT), jnp.arange(10) < 3)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-7), half, first))


def test_the_ends_and_what_is_not_a_number():
    found = histogram([0.0, 1.0, np.nan, 1e-9, 1 - 1e-9], np.array([0, 1, 1, 0, 1], bool))
    assert (found.count[0], found.count[BINS - 1], found.count.sum()) == (3, 2, 5)
    bins = found.reliability()
    assert bins[0]["confidence"] == pytest.approx(1e-9 / 3, abs=1e-9)
    assert bins[9]["confidence"] == pytest.approx(1.0)
