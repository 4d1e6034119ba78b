"""From a model's Outputs to a Reading, the same for training's evaluation, prediction and export."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from seqdigits import boxes as bx
from seqdigits.batch import NO_DIGIT, Outputs, Reading
from seqdigits.data.sources import Spec


class Limits(NamedTuple):
    """What a reading is bounded by; static, from the config, saved with weights.

    Attributes:
      max_length: L, positions of a reading.
      min_score: a cell of the dense reader holds a digit if it says so with at least this, 0..1.
      max_overlap: of two digits whose boxes overlap by more (IoU), the less certain is a double.
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
    """One image: logits f32 [h, w, 11], cell_boxes f32 [h, w, 4] -> Reading without B."""
    probability = jax.nn.softmax(logits).reshape(-1, NO_DIGIT + 1)  # [h*w, 11]
    missing = max(limits.max_length - probability.shape[0], 0)  # a grid smaller than L is filled with empty cells
    some = jnp.pad(1.0 - probability[:, NO_DIGIT], (0, missing))
    probability = jnp.pad(probability, ((0, missing), (0, 0)))
    candidates = min(8 * limits.max_length, some.shape[0])  # room for doubles
    score, cell = jax.lax.top_k(some, candidates)  # best first
    box = jnp.pad(cell_boxes.reshape(-1, 4), ((0, missing), (0, 0)))[cell]
    kept = _without_doubles(box, score >= limits.min_score, limits.max_overlap)
    # The best L in reading order; `length` says if there were more.
    rank = jnp.where(kept & (jnp.cumsum(kept) <= limits.max_length), box[:, 0], jnp.inf)
    order = jnp.argsort(rank)[: limits.max_length]
    there = jnp.isfinite(rank[order])
    of_digit = probability[cell[order], :NO_DIGIT]  # [L, 10]
    digits = jnp.where(there, jnp.argmax(of_digit, axis=-1), NO_DIGIT).astype(jnp.int32)
    digit_boxes = jnp.where(there[:, None], box[order], 0.0)
    # The ending: no cell that was left out, but for doubles, holds a digit after all.
    left_out = jnp.max(jnp.where(score < limits.min_score, score, 0.0))
    certain = jnp.where(there, jnp.max(of_digit, axis=-1), 1.0 - left_out)
    confidence = jnp.prod(jnp.where(there, certain, 1.0)) * (1.0 - left_out)
    reading = Reading(
        length=jnp.sum(kept),
        digits=digits,
        digit_confidence=certain,
        digit_boxes=digit_boxes,
        confidence=confidence,
        box=jnp.where(jnp.any(there), bx.hull(digit_boxes, there), mean_box),
    )
    return jax.tree.map(lambda x: x[None], reading)  # N = 1


def _without_doubles(box: Array, candidate: Array, max_overlap: float) -> Array:
    """Greedy suppression, best first: f32 [M, 4], bool [M] -> bool [M], the ones kept."""
    overlap = bx.iou(box[:, None], box[None]) > max_overlap  # [M, M]

    def consider(i: int, kept: Array) -> Array:
        earlier = jnp.arange(box.shape[0]) < i
        return kept.at[i].set(candidate[i] & ~jnp.any(kept & overlap[i] & earlier))

    return jax.lax.fori_loop(0, box.shape[0], consider, jnp.zeros_like(candidate))
