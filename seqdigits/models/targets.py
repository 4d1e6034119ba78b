"""Assigns targets to the cells of a dense detector: which digit each cell is trained to predict, and with what weight."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch


def _heatmap(squared: Array, radius: float) -> Array:
    weight = jnp.exp(-squared / (2 * radius**2))
    return jnp.where(weight > 0.05, weight, 0.0)  # so that cells far from every digit are fully negative


TARGETS: dict[str, Callable[[Array, float], Array]] = {
    "cell": lambda squared, _radius: jnp.zeros_like(squared),
    "center_sampling": lambda squared, radius: jnp.where(squared <= radius**2, 1.0, 0.0),
    "heatmap": _heatmap,
}
"""Which cells are positive, that is, trained to predict a digit; see `cell_targets`.

The functions return the weights of cells without the center of a digit, from squared distances and the radius.
"""


def center_cells(boxes: Array, image: tuple[int, int], grid: tuple[int, int]) -> tuple[Array, Array]:
    """Returns row and column of the cell that contains the center of each box.

    A center outside the image is assigned to the nearest cell.

    Args:
      boxes: f32 [..., 4], cxcywh in pixels.
      image: height and width, in pixels.
      grid: height and width, in cells.

    Returns:
      i32 [...], i32 [...].
    """
    (height, width), (h, w) = image, grid
    row = jnp.clip(jnp.floor(boxes[..., 1] * h / height).astype(jnp.int32), 0, h - 1)
    column = jnp.clip(jnp.floor(boxes[..., 0] * w / width).astype(jnp.int32), 0, w - 1)
    return row, column


def ignored_cells(ignored: Array, grid: tuple[int, int], stride: int) -> Array:
    """Returns the cells whose center is in one of the boxes f32 [B, K, 4] of Batch.ignored: bool [B, h, w]."""
    h, w = grid
    boxes = ignored[..., None, None]  # [B, K, 4, 1, 1]
    x, y = (jnp.arange(w) + 0.5) * stride, (jnp.arange(h)[:, None] + 0.5) * stride
    inside = (jnp.abs(x - boxes[:, :, 0]) < boxes[:, :, 2] / 2) & (jnp.abs(y - boxes[:, :, 1]) < boxes[:, :, 3] / 2)
    return jnp.any(inside, axis=1)


def cell_targets(
    batch: Batch, grid: tuple[int, int], stride: int, target: str = "cell", radius: float = 0.0
) -> tuple[Array, Array, Array]:
    """Assigns a digit, a box and a target weight to each cell of an h x w grid.

    The cell that contains the center of a digit always has weight 1. The assignment rule `target` decides on the other cells. Their
    distance is that from the center of the cell to the center of the digit, in sides of the digit's box:
      `cell`: no other cell is positive.
      `center_sampling`: cells within `radius` have weight 1 (as in FCOS, Tian et al. 2020, arXiv:2006.09214).
      `heatmap`: the weight falls with the distance d as exp(-d² / (2 radius²)), and is 0 from 0.05 downward (as in
        CenterNet, Zhou et al. 2019, arXiv:1904.07850, section 3).
    A cell is assigned to the digit whose center it contains (the first, if there are several), or else to the nearest digit.

    Args:
      batch: the ground truth.
      grid: h, w.
      stride: side of a cell, in pixels.
      target: the assignment rule, a key of TARGETS.
      radius: for `center_sampling` the largest distance, for `heatmap` the standard deviation, both in sides of the
        digit's box.

    Returns:
      digits: i32 [B, h, w], NO_DIGIT where the weight is 0.
      boxes: f32 [B, h, w, 4], cxcywh in pixels, zeros where the weight is 0.
      weight: f32 [B, h, w], 0..1, the target probability of the digit; the remainder is that of NO_DIGIT.
    """
    h, w = grid
    is_digit = batch.digits != NO_DIGIT
    cells = center_cells(batch.boxes, (h * stride, w * stride), grid)
    row, column = (cell[..., None, None] for cell in cells)  # [B, L, 1, 1]
    has_center = (jnp.arange(h)[:, None] == row) & (jnp.arange(w) == column) & is_digit[..., None, None]  # [B, L, h, w]
    boxes = jnp.where(is_digit[..., None], batch.boxes, 1.0)[..., None, None]  # [B, L, 4, 1, 1]
    x, y = (jnp.arange(w) + 0.5) * stride, (jnp.arange(h)[:, None] + 0.5) * stride
    squared = ((x - boxes[:, :, 0]) / boxes[:, :, 2]) ** 2 + ((y - boxes[:, :, 1]) / boxes[:, :, 3]) ** 2
    squared = jnp.where(is_digit[..., None, None], squared, jnp.inf)  # distances, [B, L, h, w]
    assigned = jnp.argmin(jnp.where(has_center, -1.0, squared), axis=1)  # [B, h, w], position of the digit
    squared = jnp.min(squared, axis=1)
    weight = jnp.where(jnp.any(has_center, axis=1), 1.0, TARGETS[target](squared, radius))
    position = assigned.reshape(assigned.shape[0], -1)
    digits = jnp.take_along_axis(batch.digits, position, axis=1).reshape(assigned.shape)
    cell_boxes = jnp.take_along_axis(batch.boxes, position[..., None], axis=1).reshape(*assigned.shape, 4)
    positive = weight > 0
    return jnp.where(positive, digits, NO_DIGIT), jnp.where(positive[..., None], cell_boxes, 0.0), weight
