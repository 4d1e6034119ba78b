"""From a model's Outputs to a Reading, the same for training's evaluation, prediction and export."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from seqdigits import boxes as bx
from seqdigits.batch import NO_DIGIT, Outputs, Reading, Spec


class Limits(NamedTuple):
    """What a reading is bounded by; static, from the config, saved with weights.

    Attributes:
      max_length: L, positions of a reading.
      min_score: there is a digit if the cells that point at it say so with at least this together.
      max_overlap: cells whose boxes overlap by more (IoU) point at the same digit.
    """

    max_length: int
    min_score: float
    max_overlap: float


def limits(config: ConfigDict, spec: Spec) -> Limits:
    """The limits of a whole config."""
    return Limits(spec.max_length, config.read.min_score, config.read.max_overlap)


def read(outputs: Outputs, limits: Limits) -> Reading:
    """What a person gets: one number an image (N = 1).

    From digit_logits every position is taken as it is: a digit behind a "no digit" stays there, so that the reading is
    wrong, as the position is.
    """
    if outputs.digit_logits is not None:
        return _read_positions(outputs.digit_logits, outputs.box)
    return _read_cells(outputs, limits)


def _read_positions(logits: Array, box: Array | None) -> Reading:
    probability = jax.nn.softmax(logits)  # [B, L, K]
    digits = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    confidence = jnp.max(probability, axis=-1)
    reading = Reading(
        length=jnp.sum(digits != NO_DIGIT, axis=-1),
        digits=digits,
        digit_confidence=confidence,
        confidence=jnp.prod(confidence, axis=-1),
        box=box,
    )
    return jax.tree.map(lambda x: x[:, None], reading)  # N = 1


def _read_cells(outputs: Outputs, limits: Limits) -> Reading:
    assert outputs.cell_logits is not None, "a reader has cells"
    assert outputs.cell_boxes is not None, "and their boxes"
    assert outputs.box is not None, "and the mean box"
    return jax.vmap(partial(_read_grid, limits=limits))(outputs.cell_logits, outputs.cell_boxes, outputs.box)


def _read_grid(logits: Array, cell_boxes: Array, mean_box: Array, limits: Limits) -> Reading:
    """One image: logits f32 [h, w, 11], cell_boxes f32 [h, w, 4] -> Reading without B.

    A digit whose centre lies near the border of cells is half believed by each of them, and each points at the same box. Its
    centre lies in one of them only, so what cells with overlapping boxes say adds up.
    """
    probability = jax.nn.softmax(logits).reshape(-1, NO_DIGIT + 1)[:, :NO_DIGIT]  # [h*w, 10]
    missing = max(limits.max_length - probability.shape[0], 0)  # a grid smaller than L is filled with empty cells
    probability = jnp.pad(probability, ((0, missing), (0, 0)))
    candidates = min(8 * limits.max_length, probability.shape[0])  # room for all cells of each digit
    score, cell = jax.lax.top_k(jnp.sum(probability, axis=-1), candidates)  # [M], best first
    box = jnp.pad(cell_boxes.reshape(-1, 4), ((0, missing), (0, 0)))[cell]  # [M, 4]
    same = _overlap(box, limits.max_overlap)
    weight = jnp.where(same, score, 0.0)  # [M, M]
    together = jnp.sum(weight, axis=-1)
    of_digit = jnp.where(same, 1.0, 0.0) @ probability[cell]  # [M, 10]
    of_digit /= jnp.maximum(together, 1.0)[:, None]
    box = weight @ box / jnp.maximum(together, 1e-6)[:, None]
    kept = _without_doubles(_overlap(box, limits.max_overlap), together >= limits.min_score)
    # The best L in reading order; `length` says if there were more.
    rank = jnp.where(kept & (jnp.cumsum(kept) <= limits.max_length), box[:, 0], jnp.inf)
    order = jnp.argsort(rank)[: limits.max_length]
    there = jnp.isfinite(rank[order])
    digits = jnp.where(there, jnp.argmax(of_digit[order], axis=-1), NO_DIGIT).astype(jnp.int32)
    digit_boxes = jnp.where(there[:, None], box[order], 0.0)
    # The ending: nothing that was left out, but for doubles, is a digit after all.
    left_out = jnp.where((together < limits.min_score) | (kept & ~jnp.isfinite(rank)), together, 0.0)
    left_out = jnp.minimum(jnp.max(left_out), 1.0)
    certain = jnp.where(there, jnp.max(of_digit[order], axis=-1), 1.0 - left_out)
    reading = Reading(
        length=jnp.sum(kept),
        digits=digits,
        digit_confidence=certain,
        digit_boxes=digit_boxes,
        confidence=jnp.prod(jnp.where(there, certain, 1.0)) * (1.0 - left_out),
        box=jnp.where(jnp.any(there), bx.hull(digit_boxes, there), mean_box),
    )
    return jax.tree.map(lambda x: x[None], reading)  # N = 1


def _overlap(box: Array, limit: float) -> Array:
    """f32 [M, 4] -> bool [M, M], which overlap by more than `limit` (IoU); each itself, even where its box is empty."""
    return (bx.iou(box[:, None], box[None]) > limit) | jnp.eye(box.shape[0], dtype=bool)


def _without_doubles(same: Array, candidate: Array) -> Array:
    """Greedy suppression, best first: bool [M, M] which overlap, bool [M] -> bool [M], the ones kept."""

    def consider(i: int, kept: Array) -> Array:
        earlier = jnp.arange(candidate.shape[0]) < i
        return kept.at[i].set(candidate[i] & ~jnp.any(kept & same[i] & earlier))

    return jax.lax.fori_loop(0, candidate.shape[0], consider, jnp.zeros_like(candidate))
