"""Losses: one term for each part of Outputs, per example f32 [B]; `total_loss` weights and averages the terms.

The loss of a cell of the dense detector is computed in `cell_losses`, from the targets that `targets.cell_targets`
assigns.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.boxes import box_squared_error
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.params import matching
from seqdigits.core.types import Batch, Outputs, Variables
from seqdigits.models.glimpses import baseline_loss, policy_loss
from seqdigits.models.targets import cell_targets, ignored_cells


def digit_cross_entropy(logits: Array, digits: Array) -> Array:
    """Returns the cross entropy of each position: f32 [B, L, K], i32 [B, L] -> f32 [B, L], in nats.

    >>> round(float(digit_cross_entropy(jnp.zeros((1, 5, 10)), jnp.zeros((1, 5), int))[0, 0]), 4)  # log 10
    2.3026
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, digits)


def one_hot_cross_entropy(logits: Array, digits: Array) -> Array:
    """Returns the cross entropy of each position, computed from one-hot targets.

    Same value as `digit_cross_entropy`, known as "categorical" cross entropy: f32 [B, L, K], i32 [B, L] -> f32 [B, L],
    in nats.

    >>> logits, digits = jnp.array([[[2.0, 0.5, -1.0], [0.0, 3.0, 1.0]]]), jnp.array([[0, 2]])
    >>> [[round(x, 4) for x in f(logits, digits)[0].tolist()] for f in (one_hot_cross_entropy, digit_cross_entropy)]
    [[0.2413, 2.1698], [0.2413, 2.1698]]
    """
    return optax.softmax_cross_entropy(logits, jax.nn.one_hot(digits, logits.shape[-1]))


def binary_cross_entropy(logits: Array, digits: Array) -> Array:
    """Returns the binary cross entropy (sigmoid) of each position, averaged over the classes.

    Each class is classified against all others: f32 [B, L, K], i32 [B, L] -> f32 [B, L], in nats.

    >>> round(float(binary_cross_entropy(jnp.zeros((1, 1, 10)), jnp.zeros((1, 1), int))[0, 0]), 4)  # log 2
    0.6931
    """
    one_hot = jax.nn.one_hot(digits, logits.shape[-1])
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, one_hot), axis=-1)


def softmax_binary_cross_entropy(logits: Array, digits: Array) -> Array:
    """Returns the binary cross entropy of the softmax probabilities of each position, averaged over the classes.

    As Keras computes it for a softmax output with binary_crossentropy: f32 [B, L, K], i32 [B, L] -> f32 [B, L], in nats.

    >>> # -(log 0.1 + 9 log 0.9) / 10
    >>> round(float(softmax_binary_cross_entropy(jnp.zeros((1, 1, 10)), jnp.zeros((1, 1), int))[0, 0]), 4)
    0.3251
    """
    one_hot = jax.nn.one_hot(digits, logits.shape[-1], dtype=bool)
    others = ~jnp.eye(logits.shape[-1], dtype=bool)
    total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    # log(1 - p) from the other logits, because 1 - p rounds to 0 near p = 1
    log_rest = jax.nn.logsumexp(logits[..., None, :], axis=-1, where=others) - total
    return -jnp.mean(jnp.where(one_hot, logits - total, log_rest), axis=-1)


DIGIT_LOSSES = {
    "cross_entropy": digit_cross_entropy,
    "one_hot_cross_entropy": one_hot_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "softmax_binary_cross_entropy": softmax_binary_cross_entropy,
}
"""The allowed values of `loss.digit_loss`."""
POSITIONS = {"mean": jnp.mean, "sum": jnp.sum}
"""The allowed values of `loss.positions`: how the losses of the positions are reduced."""


def digit_loss(logits: Array, digits: Array, config: ConfigDict) -> Array:
    """Returns the loss of all positions of each example.

    A position whose target is NO_DIGIT has the weight `no_digit_weight`, as eos_coef in DETR (Carion et al. 2020,
    arXiv:2005.12872, section 3.1).

    Args:
      logits: f32 [B, L, K].
      digits: i32 [B, L].
      config: the section `loss`.

    Returns:
      f32 [B], in nats.

    >>> config = ConfigDict({"digit_loss": "cross_entropy", "no_digit_weight": 0.125, "positions": "sum"})
    >>> round(float(digit_loss(jnp.zeros((1, 2, 11)), jnp.array([[3, NO_DIGIT]]), config)[0]), 4)  # 1.125 log 11
    2.6976
    """
    per_position = DIGIT_LOSSES[config.digit_loss](logits, digits)
    weighted = jnp.where(digits == NO_DIGIT, config.no_digit_weight * per_position, per_position)
    return POSITIONS[config.positions](weighted, axis=-1)


def present_digit_loss(logits: Array, digits: Array, config: ConfigDict) -> Array:
    """Returns the loss of the positions that have a digit, given that they have one, for a model with a length head.

    With `positions = sum` it is the sum of -log P(digit i) over the digits of the number (Goodfellow et al. 2013,
    arXiv:1312.6082, section 4); "mean" divides it by L.

    Args:
      logits: f32 [B, L, 11], see Outputs.length_logits.
      digits: i32 [B, L].
      config: the section `loss`.

    Returns:
      f32 [B], in nats.

    >>> config = ConfigDict({"digit_loss": "cross_entropy", "positions": "sum"})
    >>> logits = jnp.array([[[5.0] * 10 + [9.0]] * 2])
    >>> round(float(present_digit_loss(logits, jnp.array([[3, NO_DIGIT]]), config)[0]), 4)  # log 10
    2.3026
    """
    is_digit = digits != NO_DIGIT
    per_position = DIGIT_LOSSES[config.digit_loss](logits[..., :NO_DIGIT], jnp.where(is_digit, digits, 0))
    return POSITIONS[config.positions](jnp.where(is_digit, per_position, 0.0), axis=-1)


def l1(params: Variables, pattern: str) -> Array:
    """Returns the sum of absolute values of the parameters whose full name matches the pattern: f32 [].

    >>> float(l1({"conv": {"kernel": jnp.array([3.0, -4.0]), "bias": jnp.array([9.0])}}, "conv/kernel"))
    7.0
    """
    matches = jax.tree.leaves(matching(params, pattern))
    sizes = [jnp.sum(jnp.abs(p)) for p, is_match in zip(jax.tree.leaves(params), matches, strict=True) if is_match]
    return sum(sizes, jnp.zeros(()))


def l2(params: Variables, pattern: str) -> Array:
    """Returns half the sum of squares of the parameters whose full name matches the pattern: f32 [].

    >>> float(l2({"conv": {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([9.0])}}, "conv/kernel"))
    12.5
    """
    matches = jax.tree.leaves(matching(params, pattern))
    squares = [jnp.sum(jnp.square(p)) for p, is_match in zip(jax.tree.leaves(params), matches, strict=True) if is_match]
    return sum(squares, jnp.zeros(())) / 2


def mean_digit_cells(total: Array, count: Array) -> Array:
    """Returns by what the losses of cells are divided with `loss.normalizer = batch`: f32 [].

    Args:
      total: f32 [], sum of the target weights of all cells of the whole batch, see `targets.cell_targets`.
      count: i32 [], number of rows of the whole batch without padding.
    """
    return jnp.maximum(total, 1) / count


def cell_losses(
    outputs: Outputs, batch: Batch, config: ConfigDict, mean_cells: Array | None = None
) -> tuple[Array, Array]:
    """Returns the classification and the box loss of the cells of a dense detector, per example.

    Each cell has a target digit, a target box and a target weight w from `targets.cell_targets`. With the probabilities p
    of the cell, s = `smoothing` x w, b = `background_weight` and sums over the cells:

      classification = sum((b + (1 - b) w) H) / max(sum(w), 1)
      H = -(1 - s) (w log p[digit] + (1 - w) log p[NO_DIGIT]) - s mean(log p)
      box = sum(w (|center error| + |log size error|)) / max(sum(w), 1)

    A cell with w = 1 counts 1 in the classification, one with w = 0 counts b, or 0 within a box of `batch.ignored`. The mean is over the 11 classes. Center
    errors are in cells, both norms are L1. With `target = cell`, sum(w) is the number of cells that contain the center
    of a digit.

    Both divide by max(sum(w), 1) of the example, or with `normalizer = batch` by its mean over the batch: an example
    without a digit does not count more than others then.

    Args:
      outputs: with cell_logits f32 [B, h, w, 11] and cell_boxes f32 [B, h, w, 4].
      batch: the ground truth.
      config: the section `loss`.
      mean_cells: f32 [], from `mean_digit_cells`; None with `normalizer = example`.

    Returns:
      Classification loss f32 [B], in nats, and box loss f32 [B].
    """
    assert outputs.cell_logits is not None, "a dense detector predicts cells"
    assert outputs.cell_boxes is not None, "a dense detector predicts the boxes of cells"
    grid = (outputs.cell_logits.shape[1], outputs.cell_logits.shape[2])
    digits, boxes, weight = cell_targets(batch, grid, outputs.stride, config.target, config.target_radius)
    normalizer = jnp.maximum(jnp.sum(weight, axis=(1, 2)), 1) if mean_cells is None else mean_cells

    log_p = jax.nn.log_softmax(outputs.cell_logits)
    log_p_digit = jnp.take_along_axis(log_p, digits[..., None], axis=-1)[..., 0]
    log_likelihood = weight * log_p_digit + (1 - weight) * log_p[..., NO_DIGIT]
    smoothing = config.smoothing * weight
    cross_entropy = -((1 - smoothing) * log_likelihood + smoothing * jnp.mean(log_p, axis=-1))
    cell_weight = config.background_weight + (1 - config.background_weight) * weight
    if batch.ignored is not None:
        is_ignored = ignored_cells(batch.ignored, grid, outputs.stride) & (weight == 0)
        cell_weight = jnp.where(is_ignored, 0.0, cell_weight)
    classification = jnp.sum(cross_entropy * cell_weight, axis=(1, 2)) / normalizer

    center_error = jnp.abs(outputs.cell_boxes[..., :2] - boxes[..., :2]) / outputs.stride
    true_size = jnp.where(weight[..., None] > 0, boxes[..., 2:], 1.0)  # 1: the logarithm of 0 is not finite
    size_error = jnp.abs(jnp.log(outputs.cell_boxes[..., 2:]) - jnp.log(true_size))
    box_error = jnp.where(weight > 0, weight * jnp.sum(center_error + size_error, axis=-1), 0.0)
    return classification, jnp.sum(box_error, axis=(1, 2)) / normalizer


def loss_terms(
    outputs: Outputs, batch: Batch, box: Array, config: ConfigDict, mean_cells: Array | None = None
) -> dict[str, Array]:
    """Returns the unweighted loss terms, each f32 [B], by the keys of their weights in the section `loss`.

    Only terms whose weight is not 0 are computed.

    Args:
      outputs: of the model.
      batch: the ground truth.
      box: f32 [B, 4], the true box of the whole sequence, cxcywh in pixels.
      config: the section `loss`.
      mean_cells: see `cell_losses`.
    """
    terms = {}
    if config.digits:
        assert outputs.digit_logits is not None, "config_checks.validate refuses this"
        of_positions = digit_loss if outputs.length_logits is None else present_digit_loss
        terms["digits"] = of_positions(outputs.digit_logits, batch.digits, config)
    if config.length:
        assert outputs.length_logits is not None, "config_checks.validate refuses this"
        length = jnp.sum(batch.digits != NO_DIGIT, axis=-1)
        terms["length"] = optax.softmax_cross_entropy_with_integer_labels(outputs.length_logits, length)
    if config.policy or config.baseline:
        assert outputs.baselines is not None, "config_checks.validate refuses this"
        assert outputs.location_log_density is not None, "glimpses have these three"
        assert outputs.digit_logits is not None, "glimpses have these three"
        correct = jnp.argmax(outputs.digit_logits, axis=-1) == batch.digits
        if config.policy:
            terms["policy"] = policy_loss(outputs.location_log_density, outputs.baselines, correct)
        if config.baseline:
            terms["baseline"] = baseline_loss(outputs.baselines, correct)
    if config.box:
        assert outputs.box is not None, "config_checks.validate refuses this"
        terms["box"] = box_squared_error(outputs.box, box)
    if config.cells or config.cell_boxes:
        of_cells = dict(zip(("cells", "cell_boxes"), cell_losses(outputs, batch, config, mean_cells), strict=True))
        terms |= {name: term for name, term in of_cells.items() if config[name]}
    if config.second_look:
        assert outputs.tile_logits is not None, "config_checks.validate refuses this"
        terms["second_look"] = tile_loss(outputs.tile_logits, batch.digits)
    return terms


def tile_loss(logits: Array, digits: Array) -> Array:
    """Returns the mean cross entropy of the tiles of the digits of each example: f32 [B, L, 10], i32 [B, L] -> f32 [B], in nats.

    >>> round(float(tile_loss(jnp.zeros((1, 2, 10)), jnp.array([[3, NO_DIGIT]]))[0]), 4)  # log 10
    2.3026
    """
    is_digit = digits != NO_DIGIT
    per_digit = digit_cross_entropy(logits, jnp.where(is_digit, digits, 0))
    return jnp.sum(jnp.where(is_digit, per_digit, 0.0), -1) / jnp.maximum(jnp.sum(is_digit, -1), 1)


def total_loss(terms: dict[str, Array], mask: Array, count: Array, config: ConfigDict) -> Array:
    """Returns the weighted sum of the terms over the rows that are not padding, divided by `count`: f32 [].

    Padded rows change neither the value nor the gradient of the other rows, even where their terms are not finite.

    Args:
      terms: from `loss_terms`, each f32 [B].
      mask: bool [B], False on padding.
      count: i32 [], number of rows without padding in the whole batch, of which the terms may be one shard.
      config: the section `loss`, with a weight for each term.
    """
    weighted = sum((config[name] * term for name, term in terms.items()), jnp.zeros(mask.shape))
    return jnp.sum(jnp.where(mask, weighted, 0)) / count
