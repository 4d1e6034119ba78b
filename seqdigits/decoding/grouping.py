"""Which digits of an image make a number, and in what order they are read; geometry alone, of static shape.

Two digits of like height are linked if they are neighbors on a line that runs from left to right, level or slanted by up
to about 40 degrees, or if one stands below the other and neither has a neighbor on a line. What is linked, directly or over
others, is one number.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

ALIKE = 1.8
"""Heights of neighbors differ by at most this factor."""

GAP = 0.9
"""Free space between neighbors on a line, at most; in heights (the mean of both)."""

OFFSET, SLOPE = 0.6, 0.35
"""A neighbor on a line is higher or lower by at most OFFSET heights, and SLOPE times how far to the side it is, of which one
height counts. Together below one height, so that the lines of a text stay apart."""

STACK_OFFSET, STACK_GAP = 0.5, 0.7
"""Of digits one below the other: how far the centers are apart sideways, in widths (of the wider), and the free space between
them, in heights."""

STEEP = 60.0
"""Degrees. What runs more steeply is read from top to bottom."""


def numbers(box: Array, kept: Array, confidence: Array, count: int) -> tuple[Array, Array, Array]:
    """The best numbers of an image.

    The best number has the most confident and the largest digits: the sum over its digits of confidence x height. So a
    large sure number comes before a stray small digit.

    Args:
      box: f32 [M, 4], cxcywh in pixels, of what may be a digit.
      kept: bool [M], which are.
      confidence: f32 [M], 0..1.
      count: numbers that are wanted.

    Returns:
      For each of N = `count` numbers, best first: bool [N, M], its digits, none in a row beyond the last number;
      f32 [N, M], where each stands along its line, in pixels; bool [N, M], what is linked with one of its digits, kept or
      not, and all where it has none.
    """
    links = linked(box, kept)
    label = _components(links & kept[:, None] & kept)
    of_label = (
        label == jnp.arange(box.shape[0])[:, None]
    ) & kept  # [M, M], a row for each number, empty where it is none
    weight = jnp.where(of_label, confidence * box[:, 3], 0.0)
    _, chosen = jax.lax.top_k(jnp.sum(weight, axis=-1), min(count, box.shape[0]))
    member = jnp.pad(of_label[chosen], ((0, max(count - box.shape[0], 0)), (0, 0)))  # [N, M]
    near = (member.astype(jnp.float32) @ links.astype(jnp.float32) > 0) | ~jnp.any(member, axis=-1, keepdims=True)
    return member, jax.vmap(_along, (None, 0))(box, member), near


def linked(box: Array, kept: Array) -> Array:
    """Which digits are neighbors: f32 [M, 4], bool [M] -> bool [M, M], none with itself. Whether one is free to stand in a
    stack, depends on its neighbors that are `kept`.

    >>> box = jnp.array([[10.0, 10, 8, 10], [20, 14, 8, 10], [60, 10, 8, 10], [60, 24, 8, 10], [33, 14, 4, 30]])
    >>> linked(box, jnp.ones(5, bool)).astype(int).tolist()
    [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    """
    x, y, w, h = (box[:, i] for i in range(4))
    aside, below = jnp.abs(x[:, None] - x), jnp.abs(y[:, None] - y)  # [M, M]
    height = (h[:, None] + h) / 2
    alike = (jnp.maximum(h[:, None], h) <= ALIKE * jnp.minimum(h[:, None], h)) & ~jnp.eye(box.shape[0], dtype=bool)
    close = aside - (w[:, None] + w) / 2 < GAP * height
    level = below < OFFSET * height + SLOPE * jnp.minimum(aside, height)
    on_line = alike & close & level
    alone = ~jnp.any(on_line & kept, axis=-1)
    above = aside < STACK_OFFSET * jnp.maximum(w[:, None], w)
    touching = below - height < STACK_GAP * height
    return on_line | (alike & above & touching & alone[:, None] & alone)


def _components(links: Array) -> Array:
    """The least index of what each is linked with, directly or over others: bool [M, M] -> i32 [M].

    The least label spreads until nothing changes: a few rounds of M² comparisons. Squaring the matrix costs M³ a round.
    """
    own = jnp.arange(links.shape[0])
    reach = links | jnp.eye(links.shape[0], dtype=bool)

    def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
        label, _ = state
        least = jnp.min(jnp.where(reach, label, links.shape[0]), axis=-1)
        least = least[least]  # a label is of the same number: its own label is as good, and nearer to the least
        return least, jnp.any(least != label)

    return jax.lax.while_loop(lambda state: state[1], spread, (own, jnp.any(links)))[0]


def _along(box: Array, member: Array) -> Array:
    """Where digits stand along the main axis of a number, to the right, or from top to bottom if that is STEEP:
    f32 [M, 4], bool [M] -> f32 [M], in pixels."""
    there = member.astype(box.dtype)
    x, y = (box[:, i] - jnp.sum(there * box[:, i]) / jnp.maximum(jnp.sum(there), 1.0) for i in range(2))
    angle = 0.5 * jnp.arctan2(2 * jnp.sum(there * x * y), jnp.sum(there * (x * x - y * y)))  # -90 to 90 degrees
    steep = jnp.abs(angle) > jnp.deg2rad(STEEP)
    return jnp.where(steep, y, x * jnp.cos(angle) + y * jnp.sin(angle))
