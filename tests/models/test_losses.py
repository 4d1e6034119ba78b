"""Losses by hand; padding changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.core.boxes import box_squared_error
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Outputs
from seqdigits.models import losses, targets

N = NO_DIGIT
SECTION = base_config().loss


def batch(digits, boxes, height=16, width=32):
    digits, boxes = jnp.array(digits), jnp.array(boxes, jnp.float32)
    image = jnp.zeros((len(digits), height, width, 1), jnp.uint8)
    return Batch(image=image, digits=digits, boxes=boxes, index=jnp.arange(len(digits)))


def test_the_loss_of_digits_is_the_mean_or_the_sum_over_positions():
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]]))
    expected = -(np.log(0.25) + np.log(0.8)) / 2
    np.testing.assert_allclose(losses.digit_loss(logits, jnp.array([[1, 1]]), SECTION), [expected], rtol=1e-6)
    of_sum = ConfigDict({**SECTION, "positions": "sum"})
    np.testing.assert_allclose(losses.digit_loss(logits, jnp.array([[1, 1]]), of_sum), [2 * expected], rtol=1e-6)


def test_box_squared_error_is_the_mean_of_the_four_numbers():
    error = box_squared_error(jnp.array([[1.0, 2, 3, 4]]), jnp.array([[0.0, 0, 0, 0]]))
    np.testing.assert_allclose(error, [(1 + 4 + 9 + 16) / 4])


CELLS = {"target": "cell", "target_radius": 0.0, "smoothing": 0.0}


def test_cell_targets():
    truth = batch([[7, 3, N]], [[[4, 4, 8, 8], [31.9, 15.9, 8, 8], [0, 0, 0, 0]]])
    digits, boxes, share = targets.cell_targets(truth, (2, 4), 8)
    expected = np.full((2, 4), N)
    expected[0, 0], expected[1, 3] = 7, 3
    np.testing.assert_array_equal(digits[0], expected)
    np.testing.assert_allclose(boxes[0, 1, 3], [31.9, 15.9, 8, 8])
    assert boxes[0].sum() == pytest.approx(24 + 31.9 + 15.9 + 16)
    np.testing.assert_array_equal(share[0], expected != N)


def test_several_cells_say_a_digit_and_each_belongs_to_the_nearest():
    truth = batch([[7, 3]], [[[8, 8, 16, 16], [24, 8, 16, 16]]])  # middles of cells at 4, 12, 20, 28 and at 4, 12
    digits, boxes, share = targets.cell_targets(truth, (2, 4), 8, "center_sampling", 0.4)
    np.testing.assert_array_equal(digits[0], [[7, 7, 3, 3]] * 2)  # each 4 pixels off on both axes: 0.354 sides
    np.testing.assert_array_equal(share[0], np.ones((2, 4)))
    np.testing.assert_allclose(boxes[0, :, 2:], np.broadcast_to([24.0, 8, 16, 16], (2, 2, 4)))
    digits, _, share = targets.cell_targets(truth, (2, 4), 8, "center_sampling", 0.3)
    assert (digits[0] != N).sum() == 2, "only the cells that hold the centers"
    assert share.sum() == 2


def test_gaussian_shares_fall_with_the_distance_in_sides_of_the_box():
    truth = batch([[7]], [[[4, 4, 16, 8]]])  # the middle of the first cell
    digits, _, share = targets.cell_targets(truth, (2, 4), 8, "heatmap", 0.5)
    np.testing.assert_allclose(share[0, 0, :3], [1, np.exp(-0.5), np.exp(-2)], rtol=1e-6)  # 0, 1/2 and 1 side away
    np.testing.assert_allclose(share[0, 1, 0], np.exp(-2), rtol=1e-6)  # 8 pixels down are a whole side
    assert share[0, 0, 3] == 0, "what has less than a twentieth has nothing"
    assert digits[0, 0, 3] == N


def test_a_digit_that_is_not_there_has_no_share():
    truth = batch([[N, N]], [[[0, 0, 0, 0], [0, 0, 0, 0]]])
    for target in targets.TARGETS:
        digits, boxes, share = targets.cell_targets(truth, (2, 4), 8, target, 0.5)
        assert (digits == N).all()
        assert not boxes.any()
        assert not share.any()


def test_of_two_digits_in_one_cell_the_first_counts():
    truth = batch([[7, 3]], [[[1, 1, 8, 8], [2, 2, 8, 8]]])
    digits, boxes, _ = targets.cell_targets(truth, (2, 4), 8)
    assert digits[0, 0, 0] == 7
    np.testing.assert_allclose(boxes[0, 0, 0], [1, 1, 8, 8])


def test_a_centre_outside_belongs_to_the_nearest_cell():
    truth = batch([[7, 3]], [[[-5, 20, 8, 8], [40, -1, 8, 8]]])
    digits, _, _ = targets.cell_targets(truth, (2, 4), 8)
    assert digits[0, 1, 0] == 7
    assert digits[0, 0, 3] == 3


def test_cell_losses_by_hand():
    truth = batch([[7, 3, N]], [[[4, 4, 8, 8], [12, 4, 8, 16], [0, 0, 0, 0]]])
    outputs = Outputs(
        cell_logits=jnp.zeros((1, 2, 4, 11)),
        cell_boxes=jnp.broadcast_to(jnp.array([8.0, 4, 8, 8]), (1, 2, 4, 4)),
        stride=8,
    )
    entropy, boxes = losses.cell_losses(outputs, truth, ConfigDict({**CELLS, "background_weight": 0.5}))
    np.testing.assert_allclose(entropy, [np.log(11) * (2 + 6 * 0.5) / 2], rtol=1e-6)
    # centers are half a cell off in x, one height is half of the truth
    np.testing.assert_allclose(boxes, [(0.5 + 0.5 + np.log(2)) / 2], rtol=1e-6)


def test_smoothing_spreads_a_part_over_all_classes_where_a_digit_is():
    truth = batch([[7]], [[[4, 4, 8, 8]]])
    logits = jnp.zeros((1, 1, 2, 11)).at[0, 0, 0, 7].set(2.0)
    outputs = Outputs(cell_logits=logits, cell_boxes=jnp.ones((1, 1, 2, 4)), stride=8)
    entropy, _ = losses.cell_losses(outputs, truth, ConfigDict({**CELLS, "background_weight": 1.0, "smoothing": 0.1}))
    total = np.log(np.exp(2.0) + 10)
    expected = 0.9 * (total - 2) + 0.1 * (total - 2 / 11) + np.log(11)  # the digit's cell, and the empty one
    np.testing.assert_allclose(entropy, [expected], rtol=1e-6)


def test_total_weighs_and_averages_over_what_counts():
    terms = {"digits": jnp.array([1.0, 3.0, 100.0]), "box": jnp.array([10.0, 20.0, 100.0])}
    config = ConfigDict({"digits": 2.0, "box": 0.1})
    mask = jnp.array([True, True, False])
    assert losses.total(terms, mask, 2, config) == pytest.approx((2 + 1 + 6 + 2) / 2)
    assert losses.total(terms, mask, 5, config) == pytest.approx((2 + 1 + 6 + 2) / 5)  # a part of a batch of five


@pytest.mark.parametrize("garbage", [1e30, jnp.nan, jnp.inf])
def test_a_padded_row_changes_nothing_not_even_the_gradient(garbage):
    config = ConfigDict({"digits": 1.0})
    digits = jnp.array([[1, 2], [0, 1], [2, 2]])
    logits = jax.random.normal(jax.random.key(0), (3, 2, 3))
    mask = jnp.array([True, True, False])

    def loss(logits, digits, mask):
        return losses.total({"digits": losses.digit_loss(logits, digits, SECTION)}, mask, jnp.sum(mask), config)

    value, grads = jax.value_and_grad(loss)(logits.at[2].set(garbage), digits, mask)
    expected, expected_grads = jax.value_and_grad(loss)(logits[:2], digits[:2], mask[:2])
    assert value == expected
    np.testing.assert_array_equal(grads[:2], expected_grads)


def test_only_terms_with_a_weight_are_there():
    config = base_config().loss
    config.digits = 1.0
    truth = batch([[1]], [[[4, 4, 8, 8]]])
    outputs = Outputs(digit_logits=jnp.zeros((1, 1, 10)))
    assert set(losses.per_example(outputs, truth, jnp.zeros((1, 4)), config)) == {"digits"}


@pytest.mark.parametrize("garbage", [1e30, jnp.nan, jnp.inf])
def test_a_padded_row_changes_nothing_in_the_cells_either(garbage):
    config = ConfigDict({**CELLS, "cells": 1.0, "cell_boxes": 1.0, "background_weight": 0.5, "smoothing": 0.1})
    truth = batch(
        [[7, 3], [5, N], [1, 2]], [[[4, 4, 8, 8], [12, 4, 8, 8]], [[20, 4, 8, 8], [0] * 4], [[4, 4, 8, 8]] * 2]
    )
    logits = jax.random.normal(jax.random.key(0), (3, 2, 4, 11))
    boxes = 1 + jax.random.uniform(jax.random.key(1), (3, 2, 4, 4))

    def loss(logits, boxes, truth):
        outputs = Outputs(cell_logits=logits, cell_boxes=boxes, stride=8)
        entropy, error = losses.cell_losses(outputs, truth, config)
        return losses.total({"cells": entropy, "cell_boxes": error}, truth.mask, jnp.sum(truth.mask), config)

    padded = truth.replace(index=jnp.array([0, 1, -1]))
    measure = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, grads = measure(logits.at[2].set(garbage), boxes.at[2].set(garbage), padded)
    alone = jax.tree.map(lambda x: x[:2], (logits, boxes, truth))
    expected, expected_grads = measure(*alone)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for found, of_alone in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(found[:2], of_alone, rtol=1e-6)


@pytest.mark.parametrize("name", losses.DIGIT_LOSSES)
def test_a_position_without_a_digit_weighs_what_the_config_says(name):
    logits = jax.random.normal(jax.random.key(0), (1, 3, 11))
    digits = jnp.array([[4, N, N]])
    config = ConfigDict({"digit_loss": name, "positions": "sum", "no_digit_weight": 0.25})
    each = losses.DIGIT_LOSSES[name](logits, digits)[0]
    expected = each[0] + 0.25 * (each[1] + each[2])
    np.testing.assert_allclose(losses.digit_loss(logits, digits, config)[0], expected, rtol=1e-6)


def test_binary_cross_entropy_by_hand():
    logits = jnp.array([[[2.0, -1.0, 0.0]]])
    expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(-1.0)), np.log(2)])
    np.testing.assert_allclose(losses.binary_cross_entropy(logits, jnp.array([[0]]))[0, 0], expected, rtol=1e-6)


def test_l2_counts_only_what_the_pattern_names():
    tree = {
        "encoder": {"Conv_0": {"kernel": jnp.array([3.0]), "bias": jnp.array([7.0])}},
        "head": {"kernel": jnp.array([4.0])},
    }
    assert losses.l2(tree, "encoder/.*/kernel") == 4.5
    assert losses.l2(tree, ".*kernel") == 12.5
    assert losses.l2(tree, "kernel") == 0  # the whole name must fit
