"""From outputs to readings, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.batch import NO_DIGIT, Outputs
from seqdigits.reading import Limits, read

N = NO_DIGIT
LIMITS = Limits(max_length=3, min_score=0.5, max_overlap=0.4)
MEAN = [16.0, 8, 20, 8]


def test_positions_are_taken_as_they_are():
    probability = np.full((1, 3, 11), 0.01)
    for position, (digit, p) in enumerate([(4, 0.9), (N, 0.9), (7, 0.9)]):
        probability[0, position, digit] = p
    reading = read(Outputs(digit_logits=jnp.log(jnp.array(probability)), box=jnp.array([MEAN])), LIMITS)
    assert reading.digits.tolist() == [[[4, N, 7]]]  # a digit behind "no digit" stays: the reading is wrong, as it is
    assert reading.length.tolist() == [[2]]
    np.testing.assert_allclose(reading.digit_confidence, [[[0.9] * 3]], rtol=1e-5)
    np.testing.assert_allclose(reading.confidence, [[0.9**3]], rtol=1e-5)
    np.testing.assert_allclose(reading.box, [[MEAN]])
    assert reading.digit_boxes is None


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


def test_digits_are_read_from_left_to_right():
    reading = read(cells((1, 3, 2, 0.9, [28, 12, 8, 8]), (0, 1, 5, 0.8, [12, 4, 8, 8])), LIMITS)
    assert reading.digits.tolist() == [[[5, 2, N]]]
    assert reading.length.tolist() == [[2]]
    np.testing.assert_allclose(reading.digit_boxes, [[[[12, 4, 8, 8], [28, 12, 8, 8], [0, 0, 0, 0]]]])
    np.testing.assert_allclose(reading.box, [[[20, 8, 24, 16]]])
    left_out = 0.01
    np.testing.assert_allclose(reading.digit_confidence, [[[0.8, 0.9, 1 - left_out]]], rtol=1e-3)
    np.testing.assert_allclose(reading.confidence, [[0.8 * 0.9 * (1 - left_out)]], rtol=1e-3)


def test_of_two_that_overlap_the_more_certain_stays():
    reading = read(cells((0, 1, 5, 0.7, [12, 4, 8, 8]), (0, 2, 6, 0.9, [14, 4, 8, 8])), LIMITS)  # IoU 0.6
    assert reading.digits.tolist() == [[[6, N, N]]]
    apart = read(cells((0, 1, 5, 0.7, [12, 4, 8, 8]), (0, 2, 6, 0.9, [17, 4, 8, 8])), LIMITS)  # IoU 0.23
    assert apart.digits.tolist() == [[[5, 6, N]]]


def test_cells_that_point_at_one_digit_add_up():
    half_each = cells((0, 1, 5, 0.3, [15, 4, 8, 8]), (0, 2, 5, 0.25, [16, 4, 8, 8]))
    reading = read(half_each, LIMITS)
    assert reading.digits.tolist() == [[[5, N, N]]]
    np.testing.assert_allclose(reading.digit_confidence[0, 0, 0], 0.55, rtol=0.05)
    x = float(reading.digit_boxes[0, 0, 0, 0])
    assert 15.4 < x < 15.6  # in between, nearer to the surer one
    alone = read(cells((0, 1, 5, 0.3, [15, 4, 8, 8])), LIMITS)
    assert alone.length.tolist() == [[0]]


def test_more_digits_than_positions_are_counted_not_cut():
    found = [(0, c, c, 0.95 - 0.1 * c, [4 + 8 * c, 4, 8, 8]) for c in range(4)]
    reading = read(cells(*found), LIMITS)
    assert reading.length.tolist() == [[4]]
    assert reading.digits.tolist() == [[[0, 1, 2]]]  # the most certain
    assert reading.confidence < 0.4  # there is one more, with 0.65


def test_where_nothing_is_found_the_mean_box_counts():
    reading = read(cells(), LIMITS)
    assert reading.length.tolist() == [[0]]
    assert reading.digits.tolist() == [[[N, N, N]]]
    np.testing.assert_allclose(reading.box, [[MEAN]])
    np.testing.assert_allclose(reading.confidence, [[0.99]], rtol=1e-3)


@pytest.mark.parametrize(("min_score", "length"), [(0.5, 1), (0.7, 0)])
def test_min_score(min_score, length):
    reading = read(cells((0, 1, 5, 0.6, [12, 4, 8, 8])), LIMITS._replace(min_score=min_score))
    assert reading.length.tolist() == [[length]]


def test_a_grid_with_fewer_cells_than_positions():
    one = jax.tree.map(lambda x: x[:, :1, :1] if x.ndim == 4 else x, cells((0, 0, 5, 0.8, [4, 4, 8, 8])))
    reading = read(one, LIMITS)
    assert reading.digits.tolist() == [[[5, N, N]]]
    assert reading.length.tolist() == [[1]]
