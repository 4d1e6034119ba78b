"""Tests of losses and cell targets, by hand; padding changes nothing."""

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
from seqdigits.models.sequence import position_log_probabilities

N = NO_DIGIT
SECTION = base_config().loss


def batch(digits, boxes, height=16, width=32):
    digits, boxes = jnp.array(digits), jnp.array(boxes, jnp.float32)
    image = jnp.zeros((len(digits), height, width, 1), jnp.uint8)
    return Batch(image=image, digits=digits, boxes=boxes, index=jnp.arange(len(digits)))


def test_digit_loss_reduces_positions_by_mean_or_sum():
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]]))
    expected = -(np.log(0.25) + np.log(0.8)) / 2
    np.testing.assert_allclose(losses.digit_loss(logits, jnp.array([[1, 1]]), SECTION), [expected], rtol=1e-6)
    summed = ConfigDict({**SECTION, "positions": "sum"})
    np.testing.assert_allclose(losses.digit_loss(logits, jnp.array([[1, 1]]), summed), [2 * expected], rtol=1e-6)


def test_length_and_present_digits_have_a_loss_of_their_own():
    """-log P(length) - the sum over the digits of log P(digit): Goodfellow et al. 2013, section 4."""
    digits = np.full((1, 2, 10), 0.05)
    digits[0, 0, 3], digits[0, 1, 7] = 0.55, 0.55
    length_logits = jnp.log(jnp.array([[0.1, 0.6, 0.2, 0.1]]))
    outputs = Outputs(
        digit_logits=position_log_probabilities(length_logits, jnp.log(jnp.array(digits))), length_logits=length_logits
    )
    config = ConfigDict({**SECTION, "digits": 1.0, "length": 1.0, "positions": "sum"})
    for truth, of_digits, of_length in [
        ([3, N], np.log(0.55), np.log(0.6)),
        ([3, 2], np.log(0.55 * 0.05), np.log(0.2)),
    ]:
        terms = losses.loss_terms(outputs, batch([truth], np.zeros((1, 2, 4))), jnp.zeros((1, 4)), config)
        np.testing.assert_allclose(terms["digits"], [-of_digits], rtol=1e-5)
        np.testing.assert_allclose(terms["length"], [-of_length], rtol=1e-5)
    gradient = jax.grad(lambda x: losses.present_digit_loss(x, jnp.array([[3, N]]), config)[0])(outputs.digit_logits)
    assert not gradient[0, 1].any(), "a position after the last digit has none"


def test_position_log_probabilities_are_those_of_length_and_digit():
    length, digit = jax.random.normal(jax.random.key(0), (2, 5)), jax.random.normal(jax.random.key(1), (2, 3, 10))
    joint = jnp.exp(position_log_probabilities(length, digit))
    np.testing.assert_allclose(joint.sum(-1), np.ones((2, 3)), rtol=1e-5)
    p = jax.nn.softmax(length)
    np.testing.assert_allclose(joint[:, 0, N], p[:, 0], rtol=1e-5)
    np.testing.assert_allclose(joint[:, 2, N], p[:, :3].sum(-1), rtol=1e-5)
    np.testing.assert_allclose(joint[:, 2, 4], p[:, 3:].sum(-1) * jax.nn.softmax(digit)[:, 2, 4], rtol=1e-5)


def test_box_squared_error_averages_four_coordinates():
    error = box_squared_error(jnp.array([[1.0, 2, 3, 4]]), jnp.array([[0.0, 0, 0, 0]]))
    np.testing.assert_allclose(error, [(1 + 4 + 9 + 16) / 4])


CELLS = {"target": "cell", "target_radius": 0.0, "smoothing": 0.0}


def test_cell_targets_use_the_center_cell():
    truth = batch([[7, 3, N]], [[[4, 4, 8, 8], [31.9, 15.9, 8, 8], [0, 0, 0, 0]]])
    digits, boxes, weight = targets.cell_targets(truth, (2, 4), 8)
    expected = np.full((2, 4), N)
    expected[0, 0], expected[1, 3] = 7, 3
    np.testing.assert_array_equal(digits[0], expected)
    np.testing.assert_allclose(boxes[0, 1, 3], [31.9, 15.9, 8, 8])
    assert boxes[0].sum() == pytest.approx(24 + 31.9 + 15.9 + 16)
    np.testing.assert_array_equal(weight[0], expected != N)


def test_center_sampling_assigns_cells_to_the_nearest_digit():
    truth = batch([[7, 3]], [[[8, 8, 16, 16], [24, 8, 16, 16]]])  # centers of cells at 4, 12, 20, 28 and at 4, 12
    digits, boxes, weight = targets.cell_targets(truth, (2, 4), 8, "center_sampling", 0.4)
    np.testing.assert_array_equal(digits[0], [[7, 7, 3, 3]] * 2)  # each 4 pixels off on both axes: 0.354 sides
    np.testing.assert_array_equal(weight[0], np.ones((2, 4)))
    np.testing.assert_allclose(boxes[0, :, 2:], np.broadcast_to([24.0, 8, 16, 16], (2, 2, 4)))
    digits, _, weight = targets.cell_targets(truth, (2, 4), 8, "center_sampling", 0.3)
    assert (digits[0] != N).sum() == 2, "only the cells that contain the centers"
    assert weight.sum() == 2


def test_heatmap_weights_fall_with_the_distance():
    truth = batch([[7]], [[[4, 4, 16, 8]]])  # the center of the first cell
    digits, _, weight = targets.cell_targets(truth, (2, 4), 8, "heatmap", 0.5)
    np.testing.assert_allclose(weight[0, 0, :3], [1, np.exp(-0.5), np.exp(-2)], rtol=1e-6)  # 0, 1/2 and 1 side away
    np.testing.assert_allclose(weight[0, 1, 0], np.exp(-2), rtol=1e-6)  # 8 pixels down are one side
    assert weight[0, 0, 3] == 0, "weights below 0.05 are 0"
    assert digits[0, 0, 3] == N


def test_cell_targets_ignore_empty_positions():
    truth = batch([[N, N]], [[[0, 0, 0, 0], [0, 0, 0, 0]]])
    for target in targets.TARGETS:
        digits, boxes, weight = targets.cell_targets(truth, (2, 4), 8, target, 0.5)
        assert (digits == N).all()
        assert not boxes.any()
        assert not weight.any()


def test_cell_targets_take_the_first_of_two_digits():
    truth = batch([[7, 3]], [[[1, 1, 8, 8], [2, 2, 8, 8]]])
    digits, boxes, _ = targets.cell_targets(truth, (2, 4), 8)
    assert digits[0, 0, 0] == 7
    np.testing.assert_allclose(boxes[0, 0, 0], [1, 1, 8, 8])


def test_center_outside_is_assigned_to_the_nearest_cell():
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
    # the centers are off by half a cell in x, and one height is half the true one
    np.testing.assert_allclose(boxes, [(0.5 + 0.5 + np.log(2)) / 2], rtol=1e-6)


def test_cell_losses_are_divided_by_the_mean_of_the_batch():
    """Of two images with two digits and none, an empty one counts as much as its cells."""
    truth = batch([[7, 3], [N, N]], [[[4, 4, 8, 8], [12, 4, 8, 16]], [[0] * 4] * 2])
    outputs = Outputs(cell_logits=jnp.zeros((2, 2, 4, 11)), cell_boxes=jnp.full((2, 2, 4, 4), 8.0), stride=8)
    config = ConfigDict({**CELLS, "background_weight": 0.5})
    mean_cells = losses.mean_digit_cells(jnp.float32(2), jnp.float32(2))
    entropy, _ = losses.cell_losses(outputs, truth, config, mean_cells)
    np.testing.assert_allclose(entropy, np.log(11) * np.array([2 + 6 * 0.5, 8 * 0.5]), rtol=1e-6)
    assert losses.mean_digit_cells(jnp.float32(0), jnp.float32(4)) == 0.25, "a batch without digits counts one cell"


def test_ignored_cells_have_their_center_in_a_box():
    boxes = jnp.array([[[12.0, 8, 16, 8], [0, 0, 0, 0]]])
    cells = np.asarray(targets.ignored_cells(boxes, (4, 8), 4))[0]  # centers at 2, 6, ..
    rows, columns = np.nonzero(cells)
    assert set(rows) == {1, 2}
    assert set(columns) == {1, 2, 3, 4}


def test_ignored_cells_train_no_background_but_digits():
    config = base_config().loss
    one = batch([[3]], [[[2.0, 2, 4, 4]]], 8, 8)
    logits = jax.random.normal(jax.random.key(0), (1, 2, 2, 11))
    outputs = Outputs(cell_logits=logits, cell_boxes=jnp.ones((1, 2, 2, 4)), stride=4)

    def gradient(ignored: jnp.ndarray | None) -> np.ndarray:
        def loss(logits: jnp.ndarray) -> jnp.ndarray:
            changed = one.replace(ignored=ignored)
            return losses.cell_losses(outputs.replace(cell_logits=logits), changed, config)[0].sum()

        return np.abs(np.asarray(jax.grad(loss)(logits))).sum(-1)[0] > 0

    assert gradient(None).all()
    whole = jnp.array([[[4.0, 4, 8, 8]]])
    assert gradient(whole).tolist() == [[True, False], [False, False]], "the cell of the digit stays"


def test_smoothing_applies_to_positive_cells():
    truth = batch([[7]], [[[4, 4, 8, 8]]])
    logits = jnp.zeros((1, 1, 2, 11)).at[0, 0, 0, 7].set(2.0)
    outputs = Outputs(cell_logits=logits, cell_boxes=jnp.ones((1, 1, 2, 4)), stride=8)
    entropy, _ = losses.cell_losses(outputs, truth, ConfigDict({**CELLS, "background_weight": 1.0, "smoothing": 0.1}))
    total = np.log(np.exp(2.0) + 10)
    expected = 0.9 * (total - 2) + 0.1 * (total - 2 / 11) + np.log(11)  # the digit's cell, and the empty one
    np.testing.assert_allclose(entropy, [expected], rtol=1e-6)


def test_total_weights_terms_and_averages_unpadded_rows():
    terms = {"digits": jnp.array([1.0, 3.0, 100.0]), "box": jnp.array([10.0, 20.0, 100.0])}
    config = ConfigDict({"digits": 2.0, "box": 0.1})
    mask = jnp.array([True, True, False])
    assert losses.total_loss(terms, mask, 2, config) == pytest.approx((2 + 1 + 6 + 2) / 2)
    assert losses.total_loss(terms, mask, 5, config) == pytest.approx((2 + 1 + 6 + 2) / 5)  # a part of a batch of five


@pytest.mark.parametrize("garbage", [1e30, jnp.nan, jnp.inf])
def test_digit_loss_ignores_padded_rows(garbage):
    config = ConfigDict({"digits": 1.0})
    digits = jnp.array([[1, 2], [0, 1], [2, 2]])
    logits = jax.random.normal(jax.random.key(0), (3, 2, 3))
    mask = jnp.array([True, True, False])

    def loss(logits, digits, mask):
        return losses.total_loss({"digits": losses.digit_loss(logits, digits, SECTION)}, mask, jnp.sum(mask), config)

    value, grads = jax.value_and_grad(loss)(logits.at[2].set(garbage), digits, mask)
    expected, expected_grads = jax.value_and_grad(loss)(logits[:2], digits[:2], mask[:2])
    assert value == expected
    np.testing.assert_array_equal(grads[:2], expected_grads)


def test_loss_terms_returns_only_weighted_terms():
    config = base_config().loss
    config.digits = 1.0
    truth = batch([[1]], [[[4, 4, 8, 8]]])
    outputs = Outputs(digit_logits=jnp.zeros((1, 1, 10)))
    assert set(losses.loss_terms(outputs, truth, jnp.zeros((1, 4)), config)) == {"digits"}


@pytest.mark.parametrize("garbage", [1e30, jnp.nan, jnp.inf])
def test_cell_losses_ignore_padded_rows(garbage):
    config = ConfigDict({**CELLS, "cells": 1.0, "cell_boxes": 1.0, "background_weight": 0.5, "smoothing": 0.1})
    truth = batch(
        [[7, 3], [5, N], [1, 2]], [[[4, 4, 8, 8], [12, 4, 8, 8]], [[20, 4, 8, 8], [0] * 4], [[4, 4, 8, 8]] * 2]
    )
    logits = jax.random.normal(jax.random.key(0), (3, 2, 4, 11))
    boxes = 1 + jax.random.uniform(jax.random.key(1), (3, 2, 4, 4))

    def loss(logits, boxes, truth):
        outputs = Outputs(cell_logits=logits, cell_boxes=boxes, stride=8)
        entropy, error = losses.cell_losses(outputs, truth, config)
        return losses.total_loss({"cells": entropy, "cell_boxes": error}, truth.mask, jnp.sum(truth.mask), config)

    padded = truth.replace(index=jnp.array([0, 1, -1]))
    measure = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, grads = measure(logits.at[2].set(garbage), boxes.at[2].set(garbage), padded)
    unpadded = jax.tree.map(lambda x: x[:2], (logits, boxes, truth))
    expected, expected_grads = measure(*unpadded)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for found, expected_grad in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(found[:2], expected_grad, rtol=1e-6)


@pytest.mark.parametrize("name", losses.DIGIT_LOSSES)
def test_no_digit_weight_scales_empty_positions(name):
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


def test_softmax_binary_cross_entropy_by_hand():
    logits, digits = jnp.log(jnp.array([[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]])), jnp.array([[0, 1]])
    expected = [-np.mean(np.log([0.5, 0.7, 0.8])), -np.mean(np.log([0.9, 0.1, 0.2]))]
    np.testing.assert_allclose(losses.softmax_binary_cross_entropy(logits, digits)[0], expected, rtol=1e-6)
    sure = jnp.array([[[60.0, 0.0, 0.0]]])  # the probability rounds to 1
    value, grad = jax.value_and_grad(lambda x: losses.softmax_binary_cross_entropy(x, jnp.array([[1]])).sum())(sure)
    np.testing.assert_allclose(value, (60 + 60 - np.log(2)) / 3, rtol=1e-6)
    assert jnp.isfinite(grad).all()


def test_l1_sums_only_matching_parameters():
    tree = {
        "encoder": {"kernel": jnp.array([3.0, -1.0]), "bias": jnp.array([7.0])},
        "head": {"kernel": jnp.array([-4.0])},
    }
    assert losses.l1(tree, "encoder/kernel") == 4
    assert losses.l1(tree, ".*kernel") == 8
    assert losses.l1(tree, "kernel") == 0


def test_l2_sums_only_matching_parameters():
    tree = {
        "encoder": {"Conv_0": {"kernel": jnp.array([3.0]), "bias": jnp.array([7.0])}},
        "head": {"kernel": jnp.array([4.0])},
    }
    assert losses.l2(tree, "encoder/.*/kernel") == 4.5
    assert losses.l2(tree, ".*kernel") == 12.5
    assert losses.l2(tree, "kernel") == 0  # the whole name must fit
