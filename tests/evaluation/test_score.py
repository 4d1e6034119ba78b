"""Scores of answers to labeled pictures, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.evaluation.answers import Answer
from seqdigits.evaluation.score import calibration, score
from seqdigits.evaluation.score_table import score_tables
from seqdigits.metrics.confidence import confidence_histogram
from seqdigits.metrics.intervals import half_interval, wilson_interval

TRUTHS = ["352", "407", "12", "8", "1234", "", "", ""]
ANSWERS = [
    Answer("352", 0.92, 10, ("352", "9")),
    Answer("07", 0.85, 20, ("07", "407")),  # a part; the number is among the others
    Answer("13", 0.75, 30, ("13",)),
    Answer(None, 0.0, 40),
    Answer("14", 0.4, 50, ("14",)),  # its digits are not adjacent in the number
    Answer(None, 0.0, 60),
    Answer("5", 0.9, 70, ("5",)),
    Answer("6", 0.3, 80, ("6",)),
]


def test_score_by_hand():
    found = score(TRUTHS, ANSWERS, 0.8)
    assert found["pictures"] == 5
    assert found["right"] == pytest.approx(1 / 5)
    assert found["right_interval"] == pytest.approx([0.0362, 0.6245], abs=1e-4)
    assert found["length_right"] == pytest.approx(2 / 5)
    assert found["part_read"] == pytest.approx(1 / 5)
    assert found["nothing_read"] == pytest.approx(1 / 5)
    assert found["among_all"] == pytest.approx(2 / 5)
    assert found["no_number"] == {
        "pictures": 3,
        "false_answers": pytest.approx(2 / 3),
        "false_answers_interval": pytest.approx([0.2077, 0.9385], abs=1e-4),
    }
    assert found["milliseconds"] == {"median": 45, "percentile_90": pytest.approx(73)}
    by_hand = (abs(1 - 0.92) + abs(0 - 0.85) + abs(0 - 0.75) + abs(0 - 0.4)) / 4
    assert found["calibration_error"] == pytest.approx(by_hand)
    assert [b["count"] for b in found["reliability"]] == [0, 0, 0, 0, 1, 0, 0, 1, 1, 1]


def test_score_thresholds_by_hand():
    thresholds = {at["min_confidence"]: at for at in score(TRUTHS, ANSWERS, 0.85)["thresholds"]}
    assert list(thresholds) == [0.5, 0.7, 0.8, 0.85, 0.9, 0.95]
    third = pytest.approx(1 / 3)
    for threshold, read, precision, false_answers in (
        (0.5, 3 / 5, third, third),
        (0.85, 2 / 5, 0.5, third),  # an answer of exactly this confidence is kept
        (0.9, 1 / 5, 1.0, third),
        (0.95, 0.0, None, 0.0),
    ):
        at = thresholds[threshold]
        assert (at["read"], at["precision"], at["false_answers"]) == (pytest.approx(read), precision, false_answers)


def test_score_of_no_pictures():
    for truths, answers in (([], []), ([""], [Answer(None, 0.0, 5)])):
        found = score(truths, answers, 0.8)
        assert (found["pictures"], found["right"], found["right_interval"]) == (0, None, None)
        assert found["calibration_error"] is None
        assert found["thresholds"][0]["precision"] is None
    assert found["no_number"]["false_answers"] == 0.0


def test_calibration_equals_that_of_evaluation():
    rng = np.random.default_rng(0)
    confidence = rng.integers(0, 10, 500) / 10 + 0.05  # far from the edges of bins, which the histogram moves a little
    right = rng.uniform(size=500) < confidence**2
    histogram = jax.device_get(
        confidence_histogram(jnp.asarray(confidence, jnp.float32), jnp.asarray(right), jnp.ones(500, bool))
    )
    found = calibration(confidence, right)
    assert found["calibration_error"] == pytest.approx(histogram.calibration_error(), abs=1e-6)
    for mine, other in zip(found["reliability"], histogram.reliability(), strict=True):
        assert mine == pytest.approx(other, abs=1e-6)


def test_wilson_interval_by_hand():
    # 9 of 10: center (0.9 + 3.8416 / 20) / 1.38416 = 0.78898, half 1.96 sqrt(0.009 + 3.8416 / 400) / 1.38416 = 0.19315
    assert wilson_interval(0.9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    # 0 of n: 0 to z^2 / (n + z^2)
    assert wilson_interval(0.0, 20) == pytest.approx((0.0, 3.8416 / 23.8416))
    assert wilson_interval(1.0, 20) == pytest.approx((20 / 23.8416, 1.0))
    low, high = wilson_interval(0.3, 50)
    assert high - low == pytest.approx(2 * half_interval(0.3, 50))


def test_score_tables_have_a_row_for_each_folder():
    doors, empty = score(TRUTHS[:5], ANSWERS[:5], 0.8), score(TRUTHS[5:], ANSWERS[5:], 0.8)
    both = score(TRUTHS, ANSWERS, 0.8)
    text = score_tables({"folders": {"doors": doors, "empty": empty}, "all": both}, 0.8)
    numbers, thresholds, no_number = (table.splitlines() for table in text.split("\n\n"))
    assert [line.split()[0] for line in numbers] == ["folder", "doors", "all"]
    assert numbers[1].split()[:7] == ["doors", "5", "0.200", "0.036", "to", "0.624", "0.400"]
    assert thresholds[1].split() == ["0.5", "0.600", "0.333", "0.333"]
    assert [line.split()[0] for line in no_number] == ["folder", "empty", "all"]
    assert no_number[1].split()[:3] == ["empty", "3", "0.667"]
    assert "without a number" not in score_tables({"folders": {"doors": doors}, "all": doors}, 0.8)
