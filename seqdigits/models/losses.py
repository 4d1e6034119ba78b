"""A loss for each part of Outputs, per example: f32 [B]. `total` weighs and averages them over rows that are not padding."""

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
from seqdigits.models.targets import cell_targets


def digit_cross_entropy(logits: Array, digits: Array) -> Array:
    """Cross entropy of each position: f32 [B, L, K], i32 [B, L] -> f32 [B, L], in nats.

    >>> round(float(digit_cross_entropy(jnp.zeros((1, 5, 10)), jnp.zeros((1, 5), int))[0, 0]), 4)  # log 10
    2.3026
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, digits)


def one_hot_cross_entropy(logits: Array, digits: Array) -> Array:
    """The same number, by the way of one-hot targets ("categorical"): f32 [B, L, K], i32 [B, L] -> f32 [B, L], in nats.

    >>> logits, digits = jnp.array([[[2.0, 0.5, -1.0], [0.0, 3.0, 1.0]]]), jnp.array([[0, 2]])
    >>> [[round(x, 4) for x in f(logits, digits)[0].tolist()] for f in (one_hot_cross_entropy, digit_cross_entropy)]
    [[0.2413, 2.1698], [0.2413, 2.1698]]
    """
    return optax.softmax_cross_entropy(logits, jax.nn.one_hot(digits, logits.shape[-1]))


def binary_cross_entropy(logits: Array, digits: Array) -> Array:
    """Each class on its own against the rest (sigmoid), the mean over classes: f32 [B, L, K], i32 [B, L] -> f32 [B, L], in
    nats.

    >>> round(float(binary_cross_entropy(jnp.zeros((1, 1, 10)), jnp.zeros((1, 1), int))[0, 0]), 4)  # log 2
    0.6931
    """
    one_hot = jax.nn.one_hot(digits, logits.shape[-1])
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, one_hot), axis=-1)


DIGIT_LOSSES = {
    "cross_entropy": digit_cross_entropy,
    "one_hot_cross_entropy": one_hot_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}
POSITIONS = {"mean": jnp.mean, "sum": jnp.sum}


def digit_loss(logits: Array, digits: Array, config: ConfigDict) -> Array:
    """The loss of all positions: f32 [B, L, K], i32 [B, L] -> f32 [B], in nats; `config` is the section `loss`.

    >>> config = ConfigDict({"digit_loss": "cross_entropy", "no_digit_weight": 0.125, "positions": "sum"})
    >>> round(float(digit_loss(jnp.zeros((1, 2, 11)), jnp.array([[3, NO_DIGIT]]), config)[0]), 4)  # 1.125 log 11
    2.6976
    """
    each = DIGIT_LOSSES[config.digit_loss](logits, digits)
    weighted = jnp.where(digits == NO_DIGIT, config.no_digit_weight * each, each)
    return POSITIONS[config.positions](weighted, axis=-1)


def l2(params: Variables, pattern: str) -> Array:
    """Half the sum of squares of the parameters whose name fits the pattern: f32 [].

    >>> float(l2({"conv": {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([9.0])}}, "conv/kernel"))
    12.5
    """
    chosen = jax.tree.leaves(matching(params, pattern))
    squares = [jnp.sum(jnp.square(p)) for p, is_one in zip(jax.tree.leaves(params), chosen, strict=True) if is_one]
    return sum(squares, jnp.zeros(())) / 2


def cell_losses(outputs: Outputs, batch: Batch, config: ConfigDict) -> tuple[Array, Array]:
    """Losses of the dense detector, each divided by the sum of the shares of the cells, which is the number of digits where
    only the cell of the center should say a digit.

    Args:
      outputs: with cell_logits f32 [B, h, w, 11] and cell_boxes f32 [B, h, w, 4].
      batch: the truth.
      config: the section `loss`. A cell without a digit weighs `background_weight`, one with a digit 1, and between them by its
        share; `smoothing` of what a cell should say is spread over all classes where a digit is.

    Returns:
      Cross entropy over all cells f32 [B], and L1 of the boxes over the cells with a digit f32 [B]: centers in cells,
      sizes as logarithms.
    """
    assert outputs.cell_logits is not None, "a reader has cells"
    assert outputs.cell_boxes is not None, "and their boxes"
    grid = (outputs.cell_logits.shape[1], outputs.cell_logits.shape[2])
    digits, boxes, share = cell_targets(batch, grid, outputs.stride, config.target, config.target_radius)
    count = jnp.maximum(jnp.sum(share, axis=(1, 2)), 1)
    log_p = jax.nn.log_softmax(outputs.cell_logits)
    of_digit = jnp.take_along_axis(log_p, digits[..., None], axis=-1)[..., 0]
    should = share * of_digit + (1 - share) * log_p[..., NO_DIGIT]
    smooth = config.smoothing * share
    entropy = -((1 - smooth) * should + smooth * jnp.mean(log_p, axis=-1))
    entropy = (
        jnp.sum(entropy * (config.background_weight + (1 - config.background_weight) * share), axis=(1, 2)) / count
    )
    center = jnp.abs(outputs.cell_boxes[..., :2] - boxes[..., :2]) / outputs.stride
    truth = jnp.where(share[..., None] > 0, boxes[..., 2:], 1.0)
    size = jnp.abs(jnp.log(outputs.cell_boxes[..., 2:]) - jnp.log(truth))
    error = jnp.where(share > 0, share * jnp.sum(center + size, axis=-1), 0.0)
    return entropy, jnp.sum(error, axis=(1, 2)) / count


def per_example(outputs: Outputs, batch: Batch, box: Array, config: ConfigDict) -> dict[str, Array]:
    """The unweighted terms, each f32 [B]; only those whose weight in `config` (the section `loss`) is not 0.

    `box` f32 [B, 4] is the true box of the whole sequence.
    """
    terms = {}
    if config.digits:
        assert outputs.digit_logits is not None, "config.validate refuses this"
        terms["digits"] = digit_loss(outputs.digit_logits, batch.digits, config)
    if config.box:
        assert outputs.box is not None, "config.validate refuses this"
        terms["box"] = box_squared_error(outputs.box, box)
    if config.cells or config.cell_boxes:
        both = dict(zip(("cells", "cell_boxes"), cell_losses(outputs, batch, config), strict=True))
        terms |= {name: term for name, term in both.items() if config[name]}
    return terms


def total(terms: dict[str, Array], mask: Array, count: Array, config: ConfigDict) -> Array:
    """The weighted sum of the terms over the rows that count, divided by `count`: f32 []. The terms of padding change
    neither it nor the gradient of the others.

    `count` f32 [] is how many rows count in the whole batch, of which these may be a part.
    """
    weighted = sum((config[name] * term for name, term in terms.items()), jnp.zeros(mask.shape))
    return jnp.sum(jnp.where(mask, weighted, 0)) / count
