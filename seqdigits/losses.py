"""A loss for each part of Outputs, per example: f32 [B]. `total` weighs and averages them over rows that are not padding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from seqdigits.batch import NO_DIGIT, Batch, Outputs, Variables
from seqdigits.params import matching


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

    >>> config = ConfigDict({"digit_loss": "cross_entropy", "no_digit": 0.125, "positions": "sum"})
    >>> round(float(digit_loss(jnp.zeros((1, 2, 11)), jnp.array([[3, NO_DIGIT]]), config)[0]), 4)  # 1.125 log 11
    2.6976
    """
    each = DIGIT_LOSSES[config.digit_loss](logits, digits)
    weighted = jnp.where(digits == NO_DIGIT, config.no_digit * each, each)
    return POSITIONS[config.positions](weighted, axis=-1)


def l2(params: Variables, pattern: str) -> Array:
    """Half the sum of squares of the parameters whose name fits the pattern: f32 [].

    >>> float(l2({"conv": {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([9.0])}}, "conv/kernel"))
    12.5
    """
    chosen = jax.tree.leaves(matching(params, pattern))
    squares = [jnp.sum(jnp.square(p)) for p, is_one in zip(jax.tree.leaves(params), chosen, strict=True) if is_one]
    return sum(squares, jnp.zeros(())) / 2


def box_squared_error(box: Array, truth: Array) -> Array:
    """Mean over x centre, y centre, width, height of the squared difference: f32 [B, 4], f32 [B, 4] -> f32 [B], in px².

    >>> box_squared_error(jnp.array([[12.0, 14, 28, 28]]), jnp.array([[14.0, 14, 28, 28]])).tolist()
    [1.0]
    """
    return jnp.mean(jnp.square(box - truth), axis=-1)


TARGETS = ("cell", "several", "gaussian")
"""Which cells should say a digit: the one that holds its centre | all around it too | those, the less the farther."""


def centre_cells(boxes: Array, image: tuple[int, int], grid: tuple[int, int]) -> tuple[Array, Array]:
    """Row and column of the cell that holds the centre of each box: f32 [..., 4] cxcywh -> i32 [...], i32 [...].

    `image`, `grid`: height and width, in pixels and in cells. A centre outside the image belongs to the nearest cell.
    """
    (height, width), (h, w) = image, grid
    row = jnp.clip(jnp.floor(boxes[..., 1] * h / height).astype(jnp.int32), 0, h - 1)
    column = jnp.clip(jnp.floor(boxes[..., 0] * w / width).astype(jnp.int32), 0, w - 1)
    return row, column


def cell_targets(
    batch: Batch, grid: tuple[int, int], stride: int, target: str = "cell", radius: float = 0.0
) -> tuple[Array, Array, Array]:
    """What each cell of an h x w grid should say.

    Args:
      batch: the truth.
      grid: h, w.
      stride: side of a cell, in pixels.
      target: one of TARGETS.
      radius: `several`: how far from a digit's centre the middle of a cell may lie, in sides of the digit's box;
        `gaussian`: the distance at which the share has fallen to exp(-1/2).

    Returns:
      digits i32 [B, h, w], NO_DIGIT where no digit is near; boxes f32 [B, h, w, 4], zeros there; share f32 [B, h, w], how
      far the cell should say that digit and not NO_DIGIT: 1 where its centre is. A cell belongs to the digit whose centre
      it holds, of two the first, and else to the nearest.
    """
    h, w = grid
    there = batch.digits != NO_DIGIT
    cells = centre_cells(batch.boxes, (h * stride, w * stride), grid)
    row, column = (cell[..., None, None] for cell in cells)  # [B, L, 1, 1]
    holds = (jnp.arange(h)[:, None] == row) & (jnp.arange(w) == column) & there[..., None, None]  # [B, L, h, w]
    boxes = jnp.where(there[..., None], batch.boxes, 1.0)[..., None, None]  # [B, L, 4, 1, 1]
    x, y = (jnp.arange(w) + 0.5) * stride, (jnp.arange(h)[:, None] + 0.5) * stride
    square = ((x - boxes[:, :, 0]) / boxes[:, :, 2]) ** 2 + ((y - boxes[:, :, 1]) / boxes[:, :, 3]) ** 2
    square = jnp.where(there[..., None, None], square, jnp.inf)
    nearest = jnp.argmin(jnp.where(holds, -1.0, square), axis=1)  # [B, h, w]
    square = jnp.min(square, axis=1)
    if target == "cell":
        share = jnp.zeros_like(square)
    elif target == "several":
        share = jnp.where(square <= radius**2, 1.0, 0.0)
    else:
        share = jnp.exp(-square / (2 * radius**2))
        share = jnp.where(share > 0.05, share, 0.0)  # far from every digit there is none, wholly
    share = jnp.where(jnp.any(holds, axis=1), 1.0, share)
    of = nearest.reshape(nearest.shape[0], -1)
    digits = jnp.take_along_axis(batch.digits, of, axis=1).reshape(nearest.shape)
    found = jnp.take_along_axis(batch.boxes, of[..., None], axis=1).reshape(*nearest.shape, 4)
    is_digit = share > 0
    return jnp.where(is_digit, digits, NO_DIGIT), jnp.where(is_digit[..., None], found, 0.0), share


def cell_losses(outputs: Outputs, batch: Batch, config: ConfigDict) -> tuple[Array, Array]:
    """Losses of the dense reader, each divided by the sum of the shares of the cells, which is the number of digits where
    only the cell of the centre should say a digit.

    Args:
      outputs: with cell_logits f32 [B, h, w, 11] and cell_boxes f32 [B, h, w, 4].
      batch: the truth.
      config: the section `loss`. A cell without a digit weighs `background`, one with a digit 1, and between them by its
        share; `smoothing` of what a cell should say is spread over all classes where a digit is.

    Returns:
      Cross entropy over all cells f32 [B], and L1 of the boxes over the cells with a digit f32 [B]: centres in cells,
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
    entropy = jnp.sum(entropy * (config.background + (1 - config.background) * share), axis=(1, 2)) / count
    centre = jnp.abs(outputs.cell_boxes[..., :2] - boxes[..., :2]) / outputs.stride
    truth = jnp.where(share[..., None] > 0, boxes[..., 2:], 1.0)
    size = jnp.abs(jnp.log(outputs.cell_boxes[..., 2:]) - jnp.log(truth))
    error = jnp.where(share > 0, share * jnp.sum(centre + size, axis=-1), 0.0)
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
