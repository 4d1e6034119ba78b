"""Geometry of boxes, in pixels.

cxcywh: x center, y center, width, height. xyxy: left, top, right, bottom.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

FAR = 1e9
"""Further than any pixel; in place of infinity, with which comparisons are wrong after conversion to TensorFlow Lite."""


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """Converts boxes from cxcywh to xyxy: f32 [..., 4] -> f32 [..., 4].

    >>> cxcywh_to_xyxy(jnp.array([14.0, 10.0, 28.0, 20.0])).tolist()
    [0.0, 0.0, 28.0, 20.0]
    """
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return jnp.concatenate([center - half, center + half], axis=-1)


def xyxy_to_cxcywh(boxes: Array) -> Array:
    """Converts boxes from xyxy to cxcywh: f32 [..., 4] -> f32 [..., 4].

    >>> xyxy_to_cxcywh(jnp.array([0.0, 0.0, 28.0, 20.0])).tolist()
    [14.0, 10.0, 28.0, 20.0]
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    return jnp.concatenate([(low + high) / 2, high - low], axis=-1)


def enclosing_box(boxes: Array, present: Array) -> Array:
    """Returns the smallest box that encloses the present boxes.

    Args:
      boxes: f32 [..., L, 4], cxcywh.
      present: bool [..., L]; the other boxes are ignored.

    Returns:
      f32 [..., 4], cxcywh; zeros where no box is present.

    >>> b = jnp.array([[14.0, 14, 28, 28], [42, 14, 28, 28], [0, 0, 0, 0]])
    >>> enclosing_box(b, jnp.array([True, True, False])).tolist()
    [28.0, 14.0, 56.0, 28.0]
    """
    corners = cxcywh_to_xyxy(boxes)
    low = jnp.min(jnp.where(present[..., None], corners[..., :2], FAR), axis=-2)
    high = jnp.max(jnp.where(present[..., None], corners[..., 2:], -FAR), axis=-2)
    enclosing = xyxy_to_cxcywh(jnp.concatenate([low, high], axis=-1))
    return jnp.where(jnp.any(present, axis=-1, keepdims=True), enclosing, 0.0)


def iou(a: Array, b: Array) -> Array:
    """Returns the intersection over union (IoU) of two boxes.

    Args:
      a: f32 [..., 4], cxcywh.
      b: f32 [..., 4], cxcywh.

    Returns:
      f32 [...], 0..1; 0 for two empty boxes.

    >>> float(iou(jnp.array([14.0, 14, 28, 28]), jnp.array([28.0, 14, 28, 28])))  # doctest: +ELLIPSIS
    0.33333...
    """
    a, b = cxcywh_to_xyxy(a), cxcywh_to_xyxy(b)
    low = jnp.maximum(a[..., :2], b[..., :2])
    high = jnp.minimum(a[..., 2:], b[..., 2:])
    intersection = jnp.prod(jnp.maximum(high - low, 0.0), axis=-1)
    area_a = jnp.prod(jnp.maximum(a[..., 2:] - a[..., :2], 0.0), axis=-1)
    area_b = jnp.prod(jnp.maximum(b[..., 2:] - b[..., :2], 0.0), axis=-1)
    union = area_a + area_b - intersection
    return jnp.where(union > 0, intersection / jnp.where(union > 0, union, 1.0), 0.0)


def box_squared_error(box: Array, truth: Array) -> Array:
    """Returns the squared error of boxes, averaged over x center, y center, width and height.

    Args:
      box: f32 [B, 4], the predicted box, cxcywh.
      truth: f32 [B, 4], the true box, cxcywh.

    Returns:
      f32 [B], in px².

    >>> box_squared_error(jnp.array([[12.0, 14, 28, 28]]), jnp.array([[14.0, 14, 28, 28]])).tolist()
    [1.0]
    """
    return jnp.mean(jnp.square(box - truth), axis=-1)
