"""Decodes the cells of a dense detector: candidates, merging of cells, NMS."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Prediction
from seqdigits.decoding import grouping
from seqdigits.decoding.options import DecodeOptions

_CANDIDATES = 4
"""How many times L places are looked at, in the order of how surely a digit is there."""


class _Candidates(NamedTuple):
    """What may be a digit in one image, M of them, the surest cell first.

    Attributes:
      box: f32 [M, 4].
      digit: i32 [M], which one it is, if it is one.
      likely, score: f32 [M], probability of that digit and of any digit.
      kept: bool [M], which are read.
      doubted: bool [M], which are not, though no other stands for them.
      confidence, said: f32 [M], the same two at the temperature of the limits.
    """

    box: Array
    digit: Array
    likely: Array
    score: Array
    kept: Array
    doubted: Array
    confidence: Array
    said: Array


def decode_grid(logits: Array, cell_boxes: Array, mean_box: Array, options: DecodeOptions) -> Prediction:
    """One image: logits f32 [..., 11] of cells, cell_boxes f32 [..., 4] -> Reading without B."""
    found = _candidates(logits, cell_boxes, options)
    first = jnp.arange(options.max_numbers) == 0
    if options.group_digits:
        member, along, near = grouping.numbers(found.box, found.kept, found.likely, options.max_numbers)  # [N, M]
    else:
        member = found.kept & first[:, None]
        along, near = jnp.broadcast_to(found.box[:, 0], member.shape), jnp.ones_like(member)
    rows = jax.vmap(partial(_number, found, options.max_length))(member, along, near)
    assert rows.box is not None, "cells have boxes"
    # That there is nothing is said by the first number, with its confidence.
    says = (rows.length > 0) | first
    return rows.replace(
        digit_confidence=jnp.where(says[:, None], rows.digit_confidence, 0.0),
        confidence=jnp.where(says, rows.confidence, 0.0),
        box=jnp.where((says & (rows.length == 0))[:, None], mean_box, rows.box),
    )


def _candidates(logits: Array, cell_boxes: Array, options: DecodeOptions) -> _Candidates:
    """A digit whose center lies near the border of cells is half believed by each of them, and each points at the same box:
    what cells with overlapping boxes say is put together."""
    probability, tempered = (
        jax.nn.softmax(x).reshape(-1, NO_DIGIT + 1)[:, :NO_DIGIT] for x in (logits, logits / options.temperature)
    )  # [cells, 10]
    missing = max(options.max_length - probability.shape[0], 0)  # a grid smaller than L is filled with empty cells
    probability, tempered = (jnp.pad(p, ((0, missing), (0, 0))) for p in (probability, tempered))
    box = jnp.pad(cell_boxes.reshape(-1, 4), ((0, missing), (0, 0)))  # [cells, 4]
    score = jnp.sum(probability, axis=-1)
    seed, fresh = _seeds(score, box, min(_CANDIDATES * options.max_length, len(score)), options.max_overlap)  # [M]
    same = (bx.iou(box[seed][:, None], box) > options.max_overlap) | (seed[:, None] == jnp.arange(len(score)))
    same &= fresh[:, None]  # [M, cells]
    weight = jnp.where(same, score, 0.0)
    together, of_digit = merge_cells(same, seed, probability, options.target)
    box = (
        jnp.matmul(weight, box, precision=jax.lax.Precision.HIGHEST)
        / jnp.maximum(jnp.sum(weight, axis=-1), 1e-6)[:, None]
    )
    digit = jnp.argmax(of_digit, axis=-1)[:, None]
    said, confidence = merge_cells(same, seed, tempered, options.target)
    same = _overlap(box, options.max_overlap)
    sure = together >= options.min_score
    kept = greedy_nms(same, sure)
    if options.min_length and not options.group_digits:
        kept = _at_least(options.min_length, same, together, kept)
    doubted = ~sure & ~jnp.any(same & kept, axis=-1)
    return _Candidates(
        box=box,
        digit=digit[:, 0].astype(jnp.int32),
        likely=jnp.take_along_axis(of_digit, digit, axis=-1)[:, 0],
        kept=kept,
        doubted=doubted,
        confidence=jnp.take_along_axis(confidence, digit, axis=-1)[:, 0],
        score=together,
        said=said,
    )


def _seeds(score: Array, box: Array, count: int, max_overlap: float) -> tuple[Array, Array]:
    """The surest cell, the surest of those that do not point at its digit, and so on: f32 [cells], f32 [cells, 4] -> i32
    [M], bool [M], whether there still was one."""

    def take(free: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        best = jnp.argmax(jnp.where(free, score, -1.0))
        fresh = free[best]
        free &= bx.iou(box[best], box) <= max_overlap
        return free.at[best].set(False), (best, fresh)

    return jax.lax.scan(take, jnp.ones(len(score), bool), None, length=count)[1]


def merge_cells(same: Array, seed: Array, probability: Array, target: str) -> tuple[Array, Array]:
    """What the cells say that point at the same digits: bool [M, cells], i32 [M], f32 [cells, 10] -> f32 [M], that there is
    one, and f32 [M, 10], that it is this one, 1 in all at most.

    Where only the cell of the center should say it (`cell`), what they say adds up, and the first may exceed 1. Where all
    around it should (`several`), it is their mean, each counted by how sure it is that there is a digit: else ten cells that
    hardly believe in one would make it sure. Where they should the less the farther (`gaussian`), the surest one counts.
    """
    score = jnp.sum(probability, axis=-1)
    if target == "heatmap":
        there = jnp.any(same, axis=-1)
        return jnp.where(there, score[seed], 0.0), jnp.where(there[:, None], probability[seed], 0.0)
    weight = jnp.where(same, score, 0.0)
    if target == "center_sampling":
        total = jnp.maximum(jnp.sum(weight, axis=-1), 1e-6)
        return weight @ score / total, weight @ probability / total[:, None]
    together = jnp.sum(weight, axis=-1)
    return together, jnp.where(same, 1.0, 0.0) @ probability / jnp.maximum(together, 1.0)[:, None]


def _number(found: _Candidates, max_length: int, member: Array, along: Array, near: Array) -> Prediction:
    """One number of an image, a Reading without B and N.

    Args:
      found: the candidates.
      max_length: L.
      member: bool [M], the digits of this number.
      along: f32 [M], the smaller, the earlier they are read.
      near: bool [M], what would belong to this number, were it a digit.
    """
    # The best L in reading order; `length` says if there were more.
    best = member & (jnp.cumsum(member) <= max_length)
    rank = jnp.where(best, along, jnp.inf)
    order = jnp.argsort(rank)[:max_length]
    there = jnp.isfinite(rank[order])
    digits = jnp.where(there, found.digit[order], NO_DIGIT)
    digit_boxes = jnp.where(there[:, None], found.box[order], 0.0)
    # The ending: nothing that was left out, but for doubles, is a digit after all.
    is_left_out = (near & found.doubted) | (member & ~best)
    ending, said_ending = (
        1.0 - jnp.minimum(jnp.max(jnp.where(is_left_out, score, 0.0)), 1.0) for score in (found.score, found.said)
    )
    return Prediction(
        length=jnp.sum(member),
        digits=digits,
        digit_confidence=jnp.where(there, found.confidence[order], said_ending),
        digit_boxes=digit_boxes,
        confidence=jnp.prod(jnp.where(there, found.likely[order], 1.0)) * ending,
        box=bx.enclosing_box(digit_boxes, there),
    )


def _overlap(box: Array, limit: float) -> Array:
    """f32 [M, 4] -> bool [M, M], which overlap by more than `limit` (IoU); each itself, even where its box is empty."""
    return (bx.iou(box[:, None], box[None]) > limit) | jnp.eye(box.shape[0], dtype=bool)


def greedy_nms(same: Array, candidate: Array) -> Array:
    """Greedy suppression, best first: bool [M, M] which overlap, bool [M] -> bool [M], the ones kept."""

    def consider(i: int, kept: Array) -> Array:
        earlier = jnp.arange(candidate.shape[0]) < i
        return kept.at[i].set(candidate[i] & ~jnp.any(kept & same[i] & earlier))

    return jax.lax.fori_loop(0, candidate.shape[0], consider, jnp.zeros_like(candidate))


def _at_least(count: int, same: Array, score: Array, kept: Array) -> Array:
    """bool [M] with the best of the others added until there are `count`, none that overlaps with another; fewer where
    there are no more."""

    def add(_: int, kept: Array) -> Array:
        free = jnp.where(jnp.any(same & kept, axis=-1), 0.0, score)
        best = jnp.argmax(free)
        return kept.at[best].set(kept[best] | ((jnp.sum(kept) < count) & (free[best] > 0)))

    return jax.lax.fori_loop(0, count, add, kept)
