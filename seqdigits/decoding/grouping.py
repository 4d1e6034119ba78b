"""Groups the digits of an image into numbers and determines their reading order, by geometry alone.

Two digits of similar height are linked if they are neighbors on a line from left to right, which may be slanted by up to
about 40 degrees. They are also linked if one is below the other and neither has a neighbor on a line. The connected
components of these links are the numbers. All shapes are static.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

MAX_HEIGHT_RATIO = 1.8
"""Largest ratio of the heights of neighbors."""

MAX_GAP = 0.9
"""Largest gap between neighbors on a line, in heights (the mean of both)."""

MAX_OFFSET, OFFSET_SLOPE = 0.6, 0.35
"""Largest vertical offset of neighbors on a line, in heights: MAX_OFFSET + OFFSET_SLOPE x their horizontal distance.

The horizontal distance is counted up to one height. The sum stays below one height, so that lines of text are not
linked.
"""

MAX_STACK_OFFSET, MAX_STACK_GAP = 0.5, 0.7
"""Limits for two digits one below the other.

The horizontal distance of the centers is in widths (of the wider one), the vertical gap in heights (the mean of both).
"""

STEEP_DEGREES = 60.0
"""A number with a steeper angle is read from top to bottom."""


def group_numbers(box: Array, kept: Array, confidence: Array, count: int) -> tuple[Array, Array, Array]:
    """Returns the best numbers of an image.

    Numbers are ranked by the sum of confidence x height over their digits. A large, confident number therefore precedes
    a small stray digit.

    Args:
      box: f32 [M, 4], cxcywh in pixels, of the candidates.
      kept: bool [M], the candidates that are digits.
      confidence: f32 [M], 0..1.
      count: N, number of rows.

    Returns:
      member: bool [N, M], the digits of each number, best first; none in rows after the last number.
      position: f32 [N, M], of each candidate along the reading direction of the number, in pixels.
      adjacent: bool [N, M], candidates linked with a digit of the number, kept or not; all where the number is empty.
    """
    links = link_neighbors(box, kept)
    label = _components(links & kept[:, None] & kept)
    members = (
        label == jnp.arange(box.shape[0])[:, None]
    ) & kept  # [M, M], one row for each label; empty where no component has it
    weight = jnp.where(members, confidence * box[:, 3], 0.0)
    chosen = order_of_smallest(-jnp.sum(weight, axis=-1), min(count, box.shape[0]))
    member = jnp.pad(members[chosen], ((0, max(count - box.shape[0], 0)), (0, 0)))  # [N, M]
    adjacent = (member.astype(jnp.float32) @ links.astype(jnp.float32) > 0) | ~jnp.any(member, axis=-1, keepdims=True)
    return member, jax.vmap(_reading_position, (None, 0))(box, member), adjacent


def link_neighbors(box: Array, kept: Array) -> Array:
    """Returns which digits are neighbors: f32 [M, 4], bool [M] -> bool [M, M], with a diagonal of False.

    Digits one below the other are linked only if neither has a `kept` neighbor on a line.

    >>> box = jnp.array([[10.0, 10, 8, 10], [20, 14, 8, 10], [60, 10, 8, 10], [60, 24, 8, 10], [33, 14, 4, 30]])
    >>> link_neighbors(box, jnp.ones(5, bool)).astype(int).tolist()
    [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    """
    x, y, w, h = (box[:, i] for i in range(4))
    dx, dy = jnp.abs(x[:, None] - x), jnp.abs(y[:, None] - y)  # [M, M]
    height = (h[:, None] + h) / 2
    similar = (jnp.maximum(h[:, None], h) <= MAX_HEIGHT_RATIO * jnp.minimum(h[:, None], h)) & ~jnp.eye(
        box.shape[0], dtype=bool
    )
    close = dx - (w[:, None] + w) / 2 < MAX_GAP * height
    level = dy < MAX_OFFSET * height + OFFSET_SLOPE * jnp.minimum(dx, height)
    on_line = similar & close & level
    isolated = ~jnp.any(on_line & kept, axis=-1)
    aligned = dx < MAX_STACK_OFFSET * jnp.maximum(w[:, None], w)
    stacked = dy - height < MAX_STACK_GAP * height
    return on_line | (similar & aligned & stacked & isolated[:, None] & isolated)


def _components(links: Array) -> Array:
    """Labels each element with the smallest index of its connected component: bool [M, M] -> i32 [M].

    Squaring the matrix of what is reached doubles the length of the paths it stands for. The longest path that any
    component can need has M - 1 links, so ceil(log2(M - 1)) rounds are enough. Spreading labels along links
    instead takes up to M rounds, also with pointer jumping.
    """
    index = jnp.arange(links.shape[0])
    reached = (links | (index[:, None] == index)).astype(jnp.float32)  # 0 or 1
    for _ in range(max(links.shape[0] - 2, 0).bit_length()):
        reached = jnp.minimum(reached @ reached, 1.0)
    return jnp.argmax(reached, axis=-1)


def order_of_smallest(value: Array, count: int) -> Array:
    """Returns the indices of the `count` smallest values, in their order: f32 [M] -> i32 [count]; count <= M.

    Equal values keep their order. The rank of each value is counted by comparing all pairs.

    >>> order_of_smallest(jnp.array([3.0, 1, 2, 1]), 3).tolist()
    [1, 3, 2]
    """
    index = jnp.arange(value.shape[0])
    precedes = (value < value[:, None]) | ((value == value[:, None]) & (index < index[:, None]))
    rank = jnp.sum(precedes, axis=-1)
    return jnp.argmax(rank == jnp.arange(count)[:, None], axis=-1)


def _reading_position(box: Array, member: Array) -> Array:
    """Returns the positions of boxes along the reading direction of a number.

    This direction is the principal axis of the centers of its digits, to the right; or from top to bottom if the axis
    is steeper than STEEP_DEGREES.

    Args:
      box: f32 [M, 4], cxcywh in pixels.
      member: bool [M], the digits of the number.

    Returns:
      f32 [M], in pixels.
    """
    weight = member.astype(box.dtype)
    x, y = (box[:, i] - jnp.sum(weight * box[:, i]) / jnp.maximum(jnp.sum(weight), 1.0) for i in range(2))
    angle = 0.5 * jnp.arctan2(2 * jnp.sum(weight * x * y), jnp.sum(weight * (x * x - y * y)))  # -90 to 90 degrees
    steep = jnp.abs(angle) > jnp.deg2rad(STEEP_DEGREES)
    return jnp.where(steep, y, x * jnp.cos(angle) + y * jnp.sin(angle))
