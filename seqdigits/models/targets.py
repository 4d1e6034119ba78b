"""Targets of the cells of a dense detector."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch

TARGETS = ("cell", "center_sampling", "heatmap")
"""Which cells should say a digit: the one that holds its center | all around it too | those, the less the farther."""


def center_cells(boxes: Array, image: tuple[int, int], grid: tuple[int, int]) -> tuple[Array, Array]:
    """Row and column of the cell that holds the center of each box: f32 [..., 4] cxcywh -> i32 [...], i32 [...].

    `image`, `grid`: height and width, in pixels and in cells. A center outside the image belongs to the nearest cell.
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
      radius: `several`: how far from a digit's center the middle of a cell may lie, in sides of the digit's box;
        `gaussian`: the distance at which the share has fallen to exp(-1/2).

    Returns:
      digits i32 [B, h, w], NO_DIGIT where no digit is near; boxes f32 [B, h, w, 4], zeros there; share f32 [B, h, w], how
      far the cell should say that digit and not NO_DIGIT: 1 where its center is. A cell belongs to the digit whose center
      it holds, of two the first, and else to the nearest.
    """
    h, w = grid
    there = batch.digits != NO_DIGIT
    cells = center_cells(batch.boxes, (h * stride, w * stride), grid)
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
    elif target == "center_sampling":
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
