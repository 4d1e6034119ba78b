"""Tests of decoding outputs into predictions, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Outputs, digits_to_text
from seqdigits.decoding import decode as decoding
from seqdigits.decoding.options import DecodeOptions

N = NO_DIGIT
decode = jax.jit(decoding.decode, static_argnums=1)
OPTIONS = DecodeOptions(max_length=3, min_score=0.5, max_overlap=0.4)
MEAN = [16.0, 8, 20, 8]


def test_decode_keeps_every_position():
    probability = np.full((1, 3, 11), 0.01)
    for position, (digit, p) in enumerate([(4, 0.9), (N, 0.9), (7, 0.9)]):
        probability[0, position, digit] = p
    prediction = decode(Outputs(digit_logits=jnp.log(jnp.array(probability)), box=jnp.array([MEAN])), OPTIONS)
    assert prediction.digits.tolist() == [[[4, N, 7]]]  # a digit after NO_DIGIT is not removed
    assert prediction.length.tolist() == [[2]]
    np.testing.assert_allclose(prediction.digit_confidence, [[[0.9] * 3]], rtol=1e-5)
    np.testing.assert_allclose(prediction.confidence, [[0.9**3]], rtol=1e-5)
    np.testing.assert_allclose(prediction.box, [[MEAN]])
    assert prediction.digit_boxes is None


def with_length(length, *digits):
    """Outputs with probabilities of the lengths 0..4, and of one digit at each position, given that there is one."""
    probability = np.full((1, 3, 10), 0.0)
    for position, (digit, p) in enumerate(digits):
        probability[0, position] = (1 - p) / 9
        probability[0, position, digit] = p
    length = np.array([length])
    ended = np.cumsum(length, -1)[:, :3, None]
    joint = np.concatenate([probability * (1 - ended), ended], -1)
    return Outputs(digit_logits=jnp.log(jnp.array(joint)), length_logits=jnp.log(jnp.array(length)))


def test_decode_weighs_the_length_against_its_digits():
    """argmax of log P(length) + sum of max log P(digit): Goodfellow et al. 2013, section 4."""
    unsure = with_length([0.01, 0.44, 0.53, 0.01, 0.01], (4, 0.9), (7, 0.3), (2, 0.9))
    prediction = decode(unsure, OPTIONS)  # 0.44 x 0.9 = 0.396 for "4"; 0.53 x 0.9 x 0.3 = 0.143 for "47"
    assert prediction.length.tolist() == [[1]]
    assert prediction.digits.tolist() == [[[4, N, N]]]
    np.testing.assert_allclose(prediction.confidence, [[0.396]], rtol=1e-5)
    expected = [0.9 * 0.99, 0.45, 0.98]  # a digit and that there is one; that the number has ended
    np.testing.assert_allclose(prediction.digit_confidence, [[expected]], rtol=1e-5)
    sure = with_length([0.01, 0.44, 0.53, 0.01, 0.01], (4, 0.9), (7, 0.9), (2, 0.9))
    prediction = decode(sure, OPTIONS)  # 0.53 x 0.9 x 0.9 = 0.429
    assert prediction.digits.tolist() == [[[4, 7, N]]]
    np.testing.assert_allclose(prediction.confidence, [[0.4293]], rtol=1e-4)


def test_decode_of_a_length_of_more_digits_counts_as_wrong():
    prediction = decode(with_length([0.01, 0.01, 0.01, 0.07, 0.9], (4, 0.9), (7, 0.9), (2, 0.9)), OPTIONS)
    assert prediction.length.tolist() == [[4]]
    assert prediction.digits.tolist() == [[[4, 7, 2]]]


def cells(*found):
    """A grid of 2 x 4 cells; `found`: (row, column, digit, probability, box)."""
    probability = np.full((1, 2, 4, 11), 0.001)
    probability[..., N] = 0.99
    boxes = np.zeros((1, 2, 4, 4))
    for row, column, digit, p, box in found:
        probability[0, row, column] = (1 - p) / 100
        probability[0, row, column, digit] = p
        probability[0, row, column, N] = (1 - p) * 0.91
        boxes[0, row, column] = box
    return Outputs(cell_logits=jnp.log(jnp.array(probability)), cell_boxes=jnp.array(boxes), box=jnp.array([MEAN]))


def test_decode_orders_digits_from_left_to_right():
    prediction = decode(cells((1, 3, 2, 0.9, [28, 12, 8, 8]), (0, 1, 5, 0.8, [12, 4, 8, 8])), OPTIONS)
    assert prediction.digits.tolist() == [[[5, 2, N]]]
    assert prediction.length.tolist() == [[2]]
    np.testing.assert_allclose(prediction.digit_boxes, [[[[12, 4, 8, 8], [28, 12, 8, 8], [0, 0, 0, 0]]]])
    np.testing.assert_allclose(prediction.box, [[[20, 8, 24, 16]]])
    left_out = 0.01
    np.testing.assert_allclose(prediction.digit_confidence, [[[0.8, 0.9, 1 - left_out]]], rtol=1e-3)
    np.testing.assert_allclose(prediction.confidence, [[0.8 * 0.9 * (1 - left_out)]], rtol=1e-3)


def test_nms_keeps_the_higher_score():
    prediction = decode(cells((0, 1, 5, 0.7, [12, 4, 8, 8]), (0, 2, 6, 0.9, [14, 4, 8, 8])), OPTIONS)  # IoU 0.6
    assert prediction.digits.tolist() == [[[6, N, N]]]
    apart = decode(cells((0, 1, 5, 0.7, [12, 4, 8, 8]), (0, 2, 6, 0.9, [17, 4, 8, 8])), OPTIONS)  # IoU 0.23
    assert apart.digits.tolist() == [[[5, 6, N]]]


def test_decode_merges_overlapping_cells():
    split = cells((0, 1, 5, 0.3, [15, 4, 8, 8]), (0, 2, 5, 0.25, [16, 4, 8, 8]))
    prediction = decode(split, OPTIONS)
    assert prediction.digits.tolist() == [[[5, N, N]]]
    np.testing.assert_allclose(prediction.digit_confidence[0, 0, 0], 0.55, rtol=0.05)
    x = float(prediction.digit_boxes[0, 0, 0, 0])
    assert 15.4 < x < 15.6  # between the two, nearer to the one with the higher score
    alone = decode(cells((0, 1, 5, 0.3, [15, 4, 8, 8])), OPTIONS)
    assert alone.length.tolist() == [[0]]


def test_length_counts_digits_beyond_max_length():
    found = [(0, c, c, 0.95 - 0.1 * c, [4 + 8 * c, 4, 8, 8]) for c in range(4)]
    prediction = decode(cells(*found), OPTIONS)
    assert prediction.length.tolist() == [[4]]
    assert prediction.digits.tolist() == [[[0, 1, 2]]]  # the highest scores
    assert prediction.confidence < 0.4  # one more candidate has 0.65


def test_empty_prediction_has_the_mean_box():
    prediction = decode(cells(), OPTIONS)
    assert prediction.length.tolist() == [[0]]
    assert prediction.digits.tolist() == [[[N, N, N]]]
    np.testing.assert_allclose(prediction.box, [[MEAN]])
    np.testing.assert_allclose(prediction.confidence, [[0.99]], rtol=1e-3)


@pytest.mark.parametrize(("min_score", "length"), [(0.5, 1), (0.7, 0)])
def test_min_score_is_the_threshold(min_score, length):
    prediction = decode(cells((0, 1, 5, 0.6, [12, 4, 8, 8])), OPTIONS._replace(min_score=min_score))
    assert prediction.length.tolist() == [[length]]


def test_decode_accepts_fewer_cells_than_positions():
    one = jax.tree.map(lambda x: x[:, :1, :1] if x.ndim == 4 else x, cells((0, 0, 5, 0.8, [4, 4, 8, 8])))
    prediction = decode(one, OPTIONS)
    assert prediction.digits.tolist() == [[[5, N, N]]]
    assert prediction.length.tolist() == [[1]]


def test_min_length_adds_the_best_rejected_digits():
    weak = cells((0, 1, 5, 0.3, [12, 4, 8, 8]), (1, 3, 2, 0.2, [28, 12, 8, 8]), (0, 3, 4, 0.1, [28, 4, 8, 8]))
    assert decode(weak, OPTIONS).length.tolist() == [[0]]
    one = decode(weak, OPTIONS._replace(min_length=1))
    assert one.digits.tolist() == [[[5, N, N]]]
    two = decode(weak, OPTIONS._replace(min_length=2))
    assert two.digits.tolist() == [[[5, 2, N]]]
    left_out = 0.1 + 9 * 0.9 / 100  # `cells` distributes a part of the remainder over the other digits
    np.testing.assert_allclose(two.confidence, [[0.3 * 0.2 * (1 - left_out)]], rtol=1e-3)


def test_min_length_does_not_add_duplicates():
    duplicates = cells((0, 1, 5, 0.21, [12, 4, 8, 8]), (0, 2, 5, 0.2, [13, 4, 8, 8]), (1, 3, 2, 0.15, [28, 12, 8, 8]))
    prediction = decode(duplicates, OPTIONS._replace(min_length=2))
    assert prediction.digits.tolist() == [[[5, 2, N]]]
    np.testing.assert_allclose(prediction.digit_confidence[0, 0, :2], [0.41, 0.15], rtol=0.05)


def test_min_length_does_not_change_kept_digits():
    sure = cells((1, 3, 2, 0.9, [28, 12, 8, 8]), (0, 1, 5, 0.8, [12, 4, 8, 8]))
    for min_length in range(3):
        same = jax.tree.map(
            np.array_equal, decode(sure, OPTIONS), decode(sure, OPTIONS._replace(min_length=min_length))
        )
        assert jax.tree.all(same)


def test_temperature_divides_logits():
    probability = np.array([0.8] + [0.02] * 10)
    logits = jnp.log(jnp.array(probability))[None, None]
    prediction = decode(Outputs(digit_logits=logits), OPTIONS._replace(temperature=2.0))
    cooler = np.sqrt(0.8) / (np.sqrt(0.8) + 10 * np.sqrt(0.02))
    np.testing.assert_allclose(prediction.digit_confidence, [[[cooler]]], rtol=1e-5)
    np.testing.assert_allclose(prediction.confidence, [[0.8]], rtol=1e-5)
    cell = cells((0, 1, 5, 0.9, [12, 4, 8, 8]))
    cooler = decode(cell, OPTIONS._replace(temperature=3.0))
    p = np.array([0.9] + [0.001] * 9 + [0.091]) ** (1 / 3)
    np.testing.assert_allclose(cooler.digit_confidence[0, 0, 0], p[0] / p.sum(), rtol=1e-4)


@pytest.mark.parametrize("temperature", [0.3, 3.0, 30.0])
def test_temperature_changes_only_digit_confidence(temperature):
    split = cells((0, 1, 5, 0.3, [15, 4, 8, 8]), (0, 2, 5, 0.25, [16, 4, 8, 8]), (1, 3, 2, 0.35, [28, 12, 8, 8]))
    for options in (OPTIONS, GROUPED):
        one, other = decode(split, options), decode(split, options._replace(temperature=temperature))
        for name in ("length", "digits", "digit_boxes", "box", "confidence"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert not np.allclose(one.digit_confidence[0, 0], other.digit_confidence[0, 0])


def test_rows_after_the_only_number_are_empty():
    found = cells((1, 3, 2, 0.9, [28, 12, 8, 8]), (0, 1, 5, 0.8, [12, 4, 8, 8]))
    one, three = decode(found, OPTIONS), decode(found, OPTIONS._replace(max_numbers=3))
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a[:, 0], b[:, 0]), one, three))
    assert three.length.tolist() == [[2, 0, 0]]
    assert three.confidence[0, 1:].tolist() == [0, 0]
    assert three.digits[0, 1:].tolist() == [[N] * 3] * 2
    assert not three.box[0, 1:].any()
    assert not three.digit_confidence[0, 1:].any()


GROUPED = DecodeOptions(max_length=4, min_score=0.5, max_overlap=0.4, min_length=2, max_numbers=3, group_digits=True)


def page(*found):
    """Outputs of 4 x 8 cells in any order; `found`: (digit, probability, box)."""
    probability = np.full((1, 4, 8, 11), 1e-6)
    probability[..., N] = 1 - 1e-5
    boxes = np.zeros((1, 4, 8, 4))
    for i, (digit, p, box) in enumerate(found):
        probability[0, i // 8, i % 8] = (1 - p) / 1e4
        probability[0, i // 8, i % 8, [digit, N]] = p, (1 - p) * 0.999
        boxes[0, i // 8, i % 8] = box
    mean = jnp.array([MEAN])
    return Outputs(cell_logits=jnp.log(jnp.array(probability)), cell_boxes=jnp.array(boxes), box=mean)


def texts(prediction):
    return [digits_to_text(row) for row in prediction.digits[0]]


def test_decode_ranks_the_larger_number_first():
    prediction = decode(
        page(
            (7, 0.9, [20, 90, 14, 20]),
            (4, 0.8, [200, 40, 30, 40]),
            (3, 0.99, [36, 91, 14, 20]),
            (2, 0.95, [168, 42, 30, 40]),
        ),
        GROUPED,
    )
    assert texts(prediction) == ["24", "73", ""]  # 40 * 1.75 is more than 20 * 1.89
    assert prediction.length.tolist() == [[2, 2, 0]]
    np.testing.assert_allclose(prediction.confidence, [[0.8 * 0.95, 0.9 * 0.99, 0]], rtol=1e-3)
    np.testing.assert_allclose(prediction.box, [[[184, 41, 62, 42], [28, 90.5, 30, 21], [0, 0, 0, 0]]], rtol=1e-5)


def test_distant_rejected_digit_does_not_lower_confidence():
    near = page((7, 0.9, [20, 90, 14, 20]), (1, 0.4, [36, 90, 14, 20]))
    far = page((7, 0.9, [20, 90, 14, 20]), (1, 0.4, [136, 90, 14, 20]))
    np.testing.assert_allclose(decode(near, GROUPED).confidence[0, 0], 0.9 * 0.6, rtol=1e-3)
    np.testing.assert_allclose(decode(far, GROUPED).confidence[0, 0], 0.9, rtol=1e-3)


def rotated(degrees, digits="1234", pitch=20.0, height=20.0):
    a = np.deg2rad(degrees)
    boxes = [[128 + i * pitch * np.cos(a), 128 + i * pitch * np.sin(a), 14, height] for i in range(len(digits))]
    return page(*((int(c), 0.9 - i % 3 * 0.1, box) for i, (c, box) in enumerate(zip(digits, boxes, strict=True))))


@pytest.mark.parametrize("degrees", [-40, -30, -10, 0, 10, 30, 40, 90])
def test_decode_orders_slanted_lines_and_stacks(degrees):
    prediction = decode(rotated(degrees, pitch=24 if degrees == 90 else 20), GROUPED)
    assert texts(prediction) == ["1234", "", ""]


def test_grouping_separates_two_lines():
    line = [(d, 0.9, [40 + 16 * d, 50, 14, 20]) for d in range(3)]
    below = [(d + 5, 0.8, [40 + 16 * d, 75, 14, 20]) for d in range(3)]
    assert texts(decode(page(*line, *below), GROUPED)) == ["012", "567", ""]


def test_grouping_separates_different_heights():
    assert texts(decode(page((1, 0.9, [40, 50, 20, 40]), (2, 0.9, [62, 50, 14, 20])), GROUPED)) == ["1", "2", ""]
    assert texts(decode(page((1, 0.9, [40, 50, 20, 40]), (2, 0.9, [62, 50, 14, 24])), GROUPED)) == ["12", "", ""]


def test_grouped_length_counts_digits_beyond_max_length():
    prediction = decode(rotated(0, "123456"), GROUPED)
    assert prediction.length.tolist() == [[6, 0, 0]]
    assert texts(prediction)[0] == "1245"  # of 0.9, 0.8, 0.7, 0.9, 0.8, 0.7 the best four
    assert prediction.confidence[0, 0] < 0.3 + 1e-6


def test_image_without_digits_has_a_confidence():
    prediction = decode(page((1, 0.3, [40, 50, 20, 40])), GROUPED)
    assert prediction.length.tolist() == [[0, 0, 0]]
    np.testing.assert_allclose(prediction.confidence, [[0.7, 0, 0]], rtol=1e-3)
    np.testing.assert_allclose(prediction.box[0], [MEAN, [0] * 4, [0] * 4])


def test_decode_accepts_more_numbers_than_candidates():
    one = page((7, 0.9, [20, 90, 14, 20]), (1, 0.8, [136, 90, 14, 20]))
    two = jax.tree.map(lambda x: jnp.concatenate([x, x]), one)
    prediction = jax.jit(lambda o: decode(o, GROUPED._replace(max_numbers=50)))(two)
    assert prediction.digits.shape == (2, 50, 4)
    assert prediction.length[:, :3].tolist() == [[1, 1, 0]] * 2


def test_center_sampling_averages_cells():
    probability = np.full((1, 1, 4, 11), 1e-9)
    for column, (seven, one) in enumerate([(0.9, 0.05), (0.6, 0.1), (0.1, 0.0), (0.0, 0.0)]):
        probability[0, 0, column, [7, 1, N]] = seven, one, 1 - seven - one
    boxes = np.array([[[[10, 8, 8, 8], [12, 8, 8, 8], [11, 8, 8, 8], [40, 8, 8, 8]]]], np.float32)
    outputs = Outputs(cell_logits=jnp.log(jnp.array(probability)), cell_boxes=jnp.array(boxes), box=jnp.array([MEAN]))
    prediction = decode(outputs, DecodeOptions(2, 0.4, 0.4, target="center_sampling"))
    assert digits_to_text(prediction.digits[0, 0]) == "7"
    scores = np.array([0.95, 0.7, 0.1])  # of the three cells that predict one digit, each weighted by itself
    seven = scores @ np.array([0.9, 0.6, 0.1]) / scores.sum()
    np.testing.assert_allclose(prediction.digit_confidence[0, 0, 0], seven, rtol=1e-5)
    np.testing.assert_allclose(
        prediction.box[0, 0], [scores @ np.array([10, 12, 11]) / scores.sum(), 8, 8, 8], rtol=1e-5
    )


def test_center_sampling_does_not_add_up_weak_cells():
    probability = np.full((1, 1, 9, 11), 1e-9)
    probability[..., 7], probability[..., N] = 0.1, 0.9
    outputs = Outputs(
        cell_logits=jnp.log(jnp.array(probability)),
        cell_boxes=jnp.broadcast_to(jnp.array([10.0, 8, 8, 8]), (1, 1, 9, 4)),
        box=jnp.array([MEAN]),
    )
    assert int(decode(outputs, DecodeOptions(2, 0.4, 0.4, target="center_sampling")).length[0, 0]) == 0
    assert int(decode(outputs, DecodeOptions(2, 0.4, 0.4)).length[0, 0]) == 1, (
        "probabilities of cells add up for target cell"
    )


def test_select_scale_takes_the_most_confident():
    probability = np.full((2, 6, 1, 11), 1e-9)
    probability[..., N] = 1
    for row, found in enumerate([((1, 7, 0.8), (4, 3, 0.95)), ((0, 5, 0.9),)]):
        for cell, digit, p in found:
            probability[row, cell, 0, [digit, N]] = p, 1 - p
    boxes = np.full((2, 6, 1, 4), 8.0, np.float32)
    boxes[:, :, 0, 0] = 20 * np.arange(6)  # apart
    outputs = Outputs(
        cell_logits=jnp.log(jnp.array(probability)),
        cell_boxes=jnp.array(boxes),
        box=jnp.array([MEAN, MEAN]),
        scales=(4, 2),
    )
    prediction = decode(outputs, OPTIONS)
    assert [digits_to_text(digits[0]) for digits in prediction.digits] == ["3", "5"]
    assert prediction.length[:, 0].tolist() == [1, 1]
    np.testing.assert_allclose(prediction.digit_confidence[:, 0, 0], [0.95, 0.9], rtol=1e-5)
    merged = decode(outputs.replace(scales=()), OPTIONS)
    assert digits_to_text(merged.digits[0, 0]) == "73", "both in one scale"


def test_select_scale_prefers_a_long_number_to_a_stray_digit():
    probability = np.full((1, 4, 1, 11), 1e-9)
    for cell, digit, p in ((0, 2, 0.8), (1, 3, 0.8), (2, 4, 0.8), (3, 9, 0.6)):  # 0.8 x 0.8 x 0.8 is less than 0.6
        probability[0, cell, 0, [digit, N]] = p, 1 - p
    boxes = np.full((1, 4, 1, 4), 8.0, np.float32)
    boxes[0, :, 0, 0] = 20 * np.arange(4)
    outputs = Outputs(
        cell_logits=jnp.log(jnp.array(probability)),
        cell_boxes=jnp.array(boxes),
        box=jnp.array([MEAN]),
        scales=(3, 1),
    )
    prediction = decode(outputs, OPTIONS)
    assert digits_to_text(prediction.digits[0, 0]) == "234"
    np.testing.assert_allclose(prediction.confidence[0, 0], 0.8**3, rtol=1e-5)


def test_platt_scaling_keeps_empty_rows_at_zero():
    outputs = cells((0, 0, 4, 0.8, [4, 4, 8, 8]))
    uncalibrated = decode(outputs, OPTIONS._replace(max_numbers=2))
    calibrated = decode(outputs, OPTIONS._replace(max_numbers=2, platt_scale=2.0, platt_bias=-1.0))
    c = float(uncalibrated.confidence[0, 0])
    expected = 1 / (1 + np.exp(-(2 * np.log(c / (1 - c)) - 1)))
    np.testing.assert_allclose(calibrated.confidence[0], [expected, 0], rtol=1e-4)
    np.testing.assert_array_equal(calibrated.digits, uncalibrated.digits)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.32, 0.34])
def test_duplicate_does_not_lower_confidence(probability):
    """Three cells in a row predict one digit; the third overlaps the first too little to be merged with it."""
    found = [(0, 0, 3, 0.5, [10, 5, 10, 10]), (0, 1, 3, 0.45, [13, 5, 10, 10])]
    sampled = OPTIONS._replace(min_score=0.4, target="center_sampling")
    alone = decode(cells(*found), sampled)
    three = decode(cells(*found, (0, 2, 3, probability, [14.6, 5, 10, 10])), sampled)
    assert three.digits.tolist() == alone.digits.tolist() == [[[3, N, N]]]
    np.testing.assert_allclose(three.confidence, alone.confidence, rtol=0.03)


@pytest.mark.parametrize("target", ["cell", "center_sampling", "heatmap"])
def test_decode_merges_all_cells_of_one_digit(target):
    found = [(row, column, 3, 0.9, [16, 8, 12, 12]) for row in range(2) for column in range(4)]
    prediction = decode(cells(*found), OPTIONS._replace(target=target))
    assert prediction.digits.tolist() == [[[3, N, N]]]
    assert prediction.confidence >= 0.89
