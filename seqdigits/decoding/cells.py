"""Decodes the cells of one scale of an image into numbers: merging of cells, NMS, grouping, confidences.

The steps for one image:
  1. Cells become seeds, in the order of their scores (`_select_seeds`).
  2. The cells whose boxes overlap a seed's are merged into one candidate (`merge_cells`),
     whose box is their mean, weighted by score.
  3. Candidates at or above `min_score` that overlap no earlier kept one are kept (`greedy_nms`).
  4. Kept candidates are grouped into numbers (`grouping.py`), or all form one.
  5. The digits of a number are put in reading order, with their confidences (`_assemble_number`).

The model has already turned offsets into the boxes of the cells: see `models/dense.py: boxes_from_offsets`.
"""

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

_CANDIDATES_PER_POSITION = 4
"""At most M = 4 L candidates are considered in an image, those with the highest scores."""


class _Candidates(NamedTuple):
    """The M candidates for digits in one image, in the order of the scores of their seeds, the highest first.

    Attributes:
      box: f32 [M, 4], cxcywh in pixels.
      digit: i32 [M], 0..9, the most probable one.
      digit_probability: f32 [M], 0..1, of `digit`.
      score: f32 [M], score of any digit: with `target = cell` the sum of the probabilities of the merged cells, which may
        exceed 1; else a probability.
      kept: bool [M], those that are part of the prediction.
      rejected: bool [M], those below `min_score` that overlap no kept one.
      tempered_digit_probability: f32 [M], digit_probability of logits divided by the temperature.
      tempered_score: f32 [M], score of logits divided by the temperature.
    """

    box: Array
    digit: Array
    digit_probability: Array
    score: Array
    kept: Array
    rejected: Array
    tempered_digit_probability: Array
    tempered_score: Array


def decode_grid(logits: Array, cell_boxes: Array, mean_box: Array, options: DecodeOptions) -> Prediction:
    """Decodes the cells of one image.

    Args:
      logits: f32 [..., 11], for each cell.
      cell_boxes: f32 [..., 4], for each cell, cxcywh in pixels.
      mean_box: f32 [4], the mean box of the training set, returned if no digit is detected.
      options: of decoding.

    Returns:
      A Prediction without the axis B.
    """
    candidates = _candidates(logits, cell_boxes, options)
    is_first = jnp.arange(options.max_numbers) == 0
    if options.group_digits:
        member, position, adjacent = grouping.group_numbers(
            candidates.box, candidates.kept, candidates.digit_probability, options.max_numbers
        )  # [N, M]
    else:
        member = candidates.kept & is_first[:, None]
        position, adjacent = jnp.broadcast_to(candidates.box[:, 0], member.shape), jnp.ones_like(member)
    rows = jax.vmap(partial(_assemble_number, candidates, options.max_length))(member, position, adjacent)
    assert rows.box is not None, "cells have boxes"
    # An image without digits is predicted by the first row, with the confidence that there is none.
    used = (rows.length > 0) | is_first
    return rows.replace(
        digit_confidence=jnp.where(used[:, None], rows.digit_confidence, 0.0),
        confidence=jnp.where(used, rows.confidence, 0.0),
        box=jnp.where((used & (rows.length == 0))[:, None], mean_box, rows.box),
    )


def _candidates(logits: Array, cell_boxes: Array, options: DecodeOptions) -> _Candidates:
    """Merges cells into candidates and decides which of them are kept.

    Where the center of a digit is near the border of cells, the probability is split between neighboring cells, and
    all of them predict the same box. Cells with overlapping boxes are therefore merged.
    """
    probability, tempered = (
        jax.nn.softmax(x).reshape(-1, NO_DIGIT + 1)[:, :NO_DIGIT] for x in (logits, logits / options.temperature)
    )  # [cells, 10]
    missing = max(options.max_length - probability.shape[0], 0)  # a grid with fewer than L cells is padded
    probability, tempered = (jnp.pad(p, ((0, missing), (0, 0))) for p in (probability, tempered))
    box = jnp.pad(cell_boxes.reshape(-1, 4), ((0, missing), (0, 0)))  # [cells, 4]
    score = jnp.sum(probability, axis=-1)
    count = min(_CANDIDATES_PER_POSITION * options.max_length, len(score))
    seed, is_new = _select_seeds(score, box, count, options.max_overlap)  # [M]
    cluster = (bx.iou(box[seed][:, None], box) > options.max_overlap) | (seed[:, None] == jnp.arange(len(score)))
    cluster &= is_new[:, None]  # [M, cells]
    weight = jnp.where(cluster, score, 0.0)
    merged_score, merged_probability = merge_cells(cluster, seed, probability, options.target)
    box = (
        jnp.matmul(weight, box, precision=jax.lax.Precision.HIGHEST)
        / jnp.maximum(jnp.sum(weight, axis=-1), 1e-6)[:, None]
    )
    digit = jnp.argmax(merged_probability, axis=-1)[:, None]
    tempered_score, tempered_probability = merge_cells(cluster, seed, tempered, options.target)
    overlaps = _overlaps(box, options.max_overlap)
    above_threshold = merged_score >= options.min_score
    kept = greedy_nms(overlaps, above_threshold)
    if options.min_length and not options.group_digits:
        kept = _fill_to_min_length(options.min_length, overlaps, merged_score, kept)
    rejected = ~above_threshold & ~jnp.any(overlaps & kept, axis=-1)
    return _Candidates(
        box=box,
        digit=digit[:, 0].astype(jnp.int32),
        digit_probability=jnp.take_along_axis(merged_probability, digit, axis=-1)[:, 0],
        kept=kept,
        rejected=rejected,
        tempered_digit_probability=jnp.take_along_axis(tempered_probability, digit, axis=-1)[:, 0],
        score=merged_score,
        tempered_score=tempered_score,
    )


def best_candidates(
    box: Array, probability: Array, *, count: int, min_score: float, max_overlap: float, target: str
) -> tuple[Array, Array]:
    """Merges the cells of one image into its best candidates, by steps 1 to 3.

    Args:
      box: f32 [cells, 4], cxcywh in pixels.
      probability: f32 [cells, 10], of each digit.
      count: M.
      min_score: of a candidate.
      max_overlap: largest IoU of two candidates; cells that overlap more are merged.
      target: see `merge_cells`.

    Returns:
      f32 [M, 4] and f32 [M, 10], boxes and probabilities in the order of the scores of their seeds; zeros where a candidate
      is rejected.
    """
    score = jnp.sum(probability, axis=-1)
    seed, is_new = _select_seeds(score, box, count, max_overlap)
    cluster = (bx.iou(box[seed][:, None], box) > max_overlap) | (seed[:, None] == jnp.arange(len(score)))
    cluster &= is_new[:, None]
    weight = jnp.where(cluster, score, 0.0)
    merged_score, merged_probability = merge_cells(cluster, seed, probability, target)
    merged_box = (
        jnp.matmul(weight, box, precision=jax.lax.Precision.HIGHEST)
        / jnp.maximum(jnp.sum(weight, axis=-1), 1e-6)[:, None]
    )
    kept = greedy_nms(_overlaps(merged_box, max_overlap), merged_score >= min_score)
    return jnp.where(kept[:, None], merged_box, 0.0), jnp.where(kept[:, None], merged_probability, 0.0)


def _select_seeds(score: Array, box: Array, count: int, max_overlap: float) -> tuple[Array, Array]:
    """Selects seed cells greedily: the highest score among the cells that overlap no earlier seed.

    Args:
      score: f32 [cells].
      box: f32 [cells, 4].
      count: M.
      max_overlap: largest IoU with an earlier seed.

    Returns:
      i32 [M], indices of cells; bool [M], False where no free cell was left.
    """

    def select(free: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        best = jnp.argmax(jnp.where(free, score, -1.0))
        is_new = free[best]
        free &= bx.iou(box[best], box) <= max_overlap
        return free.at[best].set(False), (best, is_new)

    return jax.lax.scan(select, jnp.ones(len(score), bool), None, length=count)[1]


def merge_cells(cluster: Array, seed: Array, probability: Array, target: str) -> tuple[Array, Array]:
    """Merges the probabilities of the cells of each cluster.

    How they are merged depends on the target that the detector was trained with, see targets.cell_targets:
      `cell`: the probability of one digit is split between cells, so probabilities add up, and the score may exceed 1.
      `center_sampling`: every cell near the center predicts the digit, so the result is a mean, weighted by the scores
        of the cells. A sum would turn ten weak cells into one confident candidate.
      `heatmap`: the seed has the highest value of the cluster and is taken alone.

    Args:
      cluster: bool [M, cells], which cells are merged.
      seed: i32 [M], the cell with the highest score of each cluster.
      probability: f32 [cells, 10], of each digit.
      target: one of targets.TARGETS.

    Returns:
      f32 [M], scores, and f32 [M, 10], probabilities of each digit, which sum to at most 1.
    """
    score = jnp.sum(probability, axis=-1)
    if target == "heatmap":
        present = jnp.any(cluster, axis=-1)
        return jnp.where(present, score[seed], 0.0), jnp.where(present[:, None], probability[seed], 0.0)
    weight = jnp.where(cluster, score, 0.0)
    if target == "center_sampling":
        total = jnp.maximum(jnp.sum(weight, axis=-1), 1e-6)
        return weight @ score / total, weight @ probability / total[:, None]
    merged_score = jnp.sum(weight, axis=-1)
    return merged_score, jnp.where(cluster, 1.0, 0.0) @ probability / jnp.maximum(merged_score, 1.0)[:, None]


def _assemble_number(
    candidates: _Candidates, max_length: int, member: Array, position: Array, adjacent: Array
) -> Prediction:
    """Returns one number of an image, a Prediction without the axes B and N.

    Args:
      candidates: of the image.
      max_length: L.
      member: bool [M], the digits of this number.
      position: f32 [M], along the reading direction.
      adjacent: bool [M], candidates next to this number, kept or not; a rejected one lowers the probability that the number
        ends.
    """
    # The first L members are output; `length` counts all of them.
    chosen = member & (jnp.cumsum(member) <= max_length)
    sort_key = jnp.where(chosen, position, jnp.inf)
    order = jnp.argsort(sort_key)[:max_length]
    present = jnp.isfinite(sort_key[order])
    digits = jnp.where(present, candidates.digit[order], NO_DIGIT)
    digit_boxes = jnp.where(present[:, None], candidates.box[order], 0.0)
    # The probability that the number ends here: no candidate that was left out is a digit. Duplicates of kept ones
    # do not count.
    left_out = (adjacent & candidates.rejected) | (member & ~chosen)
    end_probability, tempered_end_probability = (
        1.0 - jnp.minimum(jnp.max(jnp.where(left_out, score, 0.0)), 1.0)
        for score in (candidates.score, candidates.tempered_score)
    )
    return Prediction(
        length=jnp.sum(member),
        digits=digits,
        digit_confidence=jnp.where(present, candidates.tempered_digit_probability[order], tempered_end_probability),
        digit_boxes=digit_boxes,
        confidence=jnp.prod(jnp.where(present, candidates.digit_probability[order], 1.0)) * end_probability,
        box=bx.enclosing_box(digit_boxes, present),
    )


def _overlaps(box: Array, max_overlap: float) -> Array:
    """Returns which boxes overlap by more than `max_overlap` (IoU): f32 [M, 4] -> bool [M, M].

    Every box overlaps itself, even an empty one.
    """
    return (bx.iou(box[:, None], box[None]) > max_overlap) | jnp.eye(box.shape[0], dtype=bool)


def greedy_nms(overlaps: Array, candidate: Array) -> Array:
    """Keeps the candidates that overlap no earlier one that is kept (greedy non-maximum suppression).

    Args:
      overlaps: bool [M, M], which boxes overlap, in the order of the scores of their seeds, the highest first.
      candidate: bool [M].

    Returns:
      bool [M], the ones kept.
    """

    def consider(i: int, kept: Array) -> Array:
        earlier = jnp.arange(candidate.shape[0]) < i
        return kept.at[i].set(candidate[i] & ~jnp.any(kept & overlaps[i] & earlier))

    return jax.lax.fori_loop(0, candidate.shape[0], consider, jnp.zeros_like(candidate))


def _fill_to_min_length(min_length: int, overlaps: Array, score: Array, kept: Array) -> Array:
    """Adds the best candidates that overlap no kept one, until `min_length` are kept or none is left.

    Args:
      min_length: of the number.
      overlaps: bool [M, M].
      score: f32 [M].
      kept: bool [M].

    Returns:
      bool [M].
    """

    def add(_: int, kept: Array) -> Array:
        free = jnp.where(jnp.any(overlaps & kept, axis=-1), 0.0, score)
        best = jnp.argmax(free)
        return kept.at[best].set(kept[best] | ((jnp.sum(kept) < min_length) & (free[best] > 0)))

    return jax.lax.fori_loop(0, min_length, add, kept)
