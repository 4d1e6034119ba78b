"""Decodes the cells of one image into numbers: merging of cells, NMS, grouping, confidences.

The steps for one scale of one image:
  1. Cells become seeds, in the order of their scores (`_select_seeds`).
  2. The cells whose boxes overlap a seed's are merged into one candidate (`merge_cells`),
     whose box is their mean, weighted by score.
  3. Candidates at or above `min_score` that overlap no earlier kept one are kept (`greedy_nms`).
  4. Kept candidates are grouped into numbers (`grouping.py`), or all form one.
  5. The digits of a number are put in reading order, with their confidences (`_assemble_number`).

Steps 1 and 2 are `find_candidates`, the others `assemble_numbers`. The model has already turned offsets into the boxes
of the cells: see `models/dense.py: boxes_from_offsets`.

Only operators that ONNX and TensorFlow Lite have too, with the same meaning, are used: loops are unrolled, with as many
rounds as any input can need; ranks are counted by comparing all pairs; nothing is scattered, and no number is infinite.
An unrolled round is one round of a loop in run time, and a few operators more of the program to compile.
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

CANDIDATES_PER_POSITION = 4
"""At most M = 4 L candidates are considered in an image, those with the highest scores."""


class Candidates(NamedTuple):
    """The M candidates for digits in one scale of an image, in the order of the scores of their seeds, the highest first.

    Attributes:
      box: f32 [M, 4], cxcywh in pixels.
      digit: i32 [M], 0..9, the most probable one.
      digit_probability: f32 [M], 0..1, of `digit`.
      score: f32 [M], score of any digit: with `target = cell` the sum of the probabilities of the merged cells, which may
        exceed 1; else a probability. 0 where no free cell was left.
      tempered_digit_probability: f32 [M], digit_probability of logits divided by the temperature.
      tempered_score: f32 [M], score of logits divided by the temperature.
    """

    box: Array
    digit: Array
    digit_probability: Array
    score: Array
    tempered_digit_probability: Array
    tempered_score: Array


def find_candidates(logits: Array, cell_boxes: Array, options: DecodeOptions) -> Candidates:
    """Merges the cells of one scale of an image into candidates for digits.

    Where the center of a digit is near the border of cells, the probability is split between neighboring cells, and
    all of them predict the same box. Cells with overlapping boxes are therefore merged.

    Args:
      logits: f32 [cells, 11].
      cell_boxes: f32 [cells, 4], cxcywh in pixels.
      options: of decoding.

    Returns:
      M candidates: 4 L, or fewer where there are fewer cells, but at least L.
    """
    probability, tempered = (softmax(x)[:, :NO_DIGIT] for x in (logits, logits / options.temperature))  # [cells, 10]
    missing = options.max_length - probability.shape[0]
    if missing > 0:  # a grid with fewer than L cells is padded
        probability, tempered, cell_boxes = (
            jnp.pad(x, ((0, missing), (0, 0))) for x in (probability, tempered, cell_boxes)
        )
    score = jnp.sum(probability, axis=-1)
    count = min(CANDIDATES_PER_POSITION * options.max_length, score.shape[0])
    seed, cluster = _select_seeds(score, cell_boxes, count, options.max_overlap)  # [M], [M, cells]
    merged_score, merged_probability = merge_cells(cluster, seed, probability, options.target)
    tempered_score, tempered_probability = merge_cells(cluster, seed, tempered, options.target)
    box = _merge_boxes(cluster, score, cell_boxes)
    digit = jnp.argmax(merged_probability, axis=-1).astype(jnp.int32)
    is_digit = digit[:, None] == jnp.arange(NO_DIGIT)  # [M, 10]
    return Candidates(
        box=box,
        digit=digit,
        digit_probability=jnp.max(merged_probability, axis=-1),
        score=merged_score,
        tempered_digit_probability=jnp.sum(jnp.where(is_digit, tempered_probability, 0.0), axis=-1),
        tempered_score=tempered_score,
    )


def assemble_numbers(candidates: Candidates, mean_box: Array, options: DecodeOptions) -> Prediction:
    """Decides which candidates are digits, and assembles the numbers of one scale of an image.

    Args:
      candidates: M of them.
      mean_box: f32 [4], the mean box of the training set, returned if no digit is detected.
      options: of decoding.

    Returns:
      A Prediction without the axis B.
    """
    overlaps = _overlaps(candidates.box, options.max_overlap)
    above_threshold = candidates.score >= options.min_score
    kept = greedy_nms(overlaps, above_threshold)
    if options.min_length and not options.group_digits:
        kept = _fill_to_min_length(options.min_length, overlaps, candidates.score, kept)
    rejected = ~above_threshold & ~jnp.any(overlaps & kept, axis=-1)
    is_first = jnp.arange(options.max_numbers) == 0
    if options.group_digits:
        member, position, adjacent = grouping.group_numbers(
            candidates.box, kept, candidates.digit_probability, options.max_numbers
        )  # [N, M]
    else:
        member = kept & is_first[:, None]
        position, adjacent = jnp.broadcast_to(candidates.box[:, 0], member.shape), jnp.ones_like(member)
    rows = jax.vmap(partial(_assemble_number, candidates, rejected, options.max_length))(member, position, adjacent)
    assert rows.box is not None, "cells have boxes"
    # An image without digits is predicted by the first row, with the confidence that there is none.
    used = (rows.length > 0) | is_first
    return rows.replace(
        digit_confidence=jnp.where(used[:, None], rows.digit_confidence, 0.0),
        confidence=jnp.where(used, rows.confidence, 0.0),
        box=jnp.where((used & (rows.length == 0))[:, None], mean_box, rows.box),
    )


def look_again(candidates: Candidates, logits: Array, temperature: float | Array) -> Candidates:
    """Returns the candidates with the digits that a second look at their pixels gives; whether they are digits stays.

    Args:
      candidates: [B, M].
      logits: f32 [B, M, 10], of the digit at each.
      temperature: see DecodeOptions.
    """
    probability, tempered = softmax(logits), softmax(logits / temperature)
    digit = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    is_digit = digit[..., None] == jnp.arange(NO_DIGIT)
    # With loss.target = cell scores are sums, which may exceed 1.
    return candidates._replace(
        digit=digit,
        digit_probability=jnp.minimum(candidates.score, 1) * jnp.max(probability, axis=-1),
        tempered_digit_probability=jnp.minimum(candidates.tempered_score, 1)
        * jnp.sum(jnp.where(is_digit, tempered, 0.0), axis=-1),
    )


def softmax(logits: Array) -> Array:
    """Returns the softmax over the last axis; `jax.nn.softmax` has an infinite value in its program."""
    unnormalized = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    return unnormalized / jnp.sum(unnormalized, axis=-1, keepdims=True)


def log_sum_exp(x: Array) -> Array:
    """Returns the logarithm of the sum of exponentials over the last axis, as finite as its values, see `softmax`."""
    largest = jnp.max(x, axis=-1, keepdims=True)
    return jnp.log(jnp.sum(jnp.exp(x - largest), axis=-1)) + largest[..., 0]


def log_softmax(logits: Array) -> Array:
    """Returns the logarithm of `softmax`."""
    return logits - log_sum_exp(logits)[..., None]


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
    seed, cluster = _select_seeds(score, box, count, max_overlap)
    merged_score, merged_probability = merge_cells(cluster, seed, probability, target)
    merged_box = _merge_boxes(cluster, score, box)
    kept = greedy_nms(_overlaps(merged_box, max_overlap), merged_score >= min_score)
    return jnp.where(kept[:, None], merged_box, 0.0), jnp.where(kept[:, None], merged_probability, 0.0)


def _select_seeds(score: Array, box: Array, count: int, max_overlap: float) -> tuple[Array, Array]:
    """Selects seed cells greedily: the highest score among the cells that overlap no earlier seed.

    Args:
      score: f32 [cells], 0..1.
      box: f32 [cells, 4].
      count: M.
      max_overlap: largest IoU with an earlier seed.

    Returns:
      i32 [M], indices of cells. bool [M, cells], the cells that overlap each seed, and the seed itself; none where no
      free cell was left.
    """
    index = jnp.arange(score.shape[0])
    corners = bx.cxcywh_to_xyxy(box)
    low, high = corners[:, :2].T, corners[:, 2:].T  # [2, cells]
    width, height = jnp.maximum(high - low, 0.0)
    area = width * height
    table = jnp.concatenate([corners, area[:, None]], axis=-1)  # [cells, 5]
    seeds, scores, clusters = [], [], []
    for _ in range(count):
        highest = jnp.max(score)
        # The first cell with this score. XLA computes an argmax, which is the same, in three times the time on a CPU.
        # Unlike `score == highest`, the comparison finds a cell if scores are NaN, which thus reach the prediction.
        seed = jnp.min(jnp.where(score < highest, score.shape[0], index))
        row = table.at[seed].get(mode="promise_in_bounds", wrap_negative_indices=False)
        # The IoU of all cells with the seed, as core.boxes.iou, from corners and areas that are computed once.
        width, height = jnp.maximum(jnp.minimum(high, row[2:4, None]) - jnp.maximum(low, row[:2, None]), 0.0)
        intersection = width * height
        union = area + row[4] - intersection
        iou = intersection / jnp.where(union > 0, union, 1.0)
        cluster = (iou > max_overlap) | (index == seed)
        score = jnp.where(cluster, -1.0, score)
        seeds.append(seed)
        scores.append(highest)
        clusters.append(cluster)
    none_free = jnp.stack(scores) < 0
    return jnp.stack(seeds), jnp.stack(clusters) & ~none_free[:, None]


def _merge_boxes(cluster: Array, score: Array, box: Array) -> Array:
    """Returns the mean box of each cluster, weighted by score: bool [M, cells], f32 [cells], f32 [cells, 4] -> f32 [M, 4]."""
    weight = jnp.where(cluster, score, 0.0)
    total = jnp.maximum(jnp.sum(weight, axis=-1), 1e-6)[:, None]
    return jnp.matmul(weight, box, precision=jax.lax.Precision.HIGHEST) / total


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
      target: a key of targets.TARGETS.

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
    assert target == "cell", "there is no other target"
    merged_score = jnp.sum(weight, axis=-1)
    return merged_score, jnp.where(cluster, 1.0, 0.0) @ probability / jnp.maximum(merged_score, 1.0)[:, None]


def _assemble_number(
    candidates: Candidates, rejected: Array, max_length: int, member: Array, position: Array, adjacent: Array
) -> Prediction:
    """Returns one number of an image, a Prediction without the axes B and N.

    Args:
      candidates: of the image.
      rejected: bool [M], candidates below `min_score` that overlap no kept one.
      max_length: L.
      member: bool [M], the digits of this number.
      position: f32 [M], along the reading direction.
      adjacent: bool [M], candidates next to this number, kept or not; a rejected one lowers the probability that the number
        ends.
    """
    # The first L members are output; `length` counts all of them.
    index = jnp.arange(member.shape[0])
    chosen = member & (jnp.sum(member & (index <= index[:, None]), axis=-1) <= max_length)
    order = grouping.order_of_smallest(jnp.where(chosen, position, bx.FAR), max_length)
    present = jnp.arange(max_length) < jnp.sum(chosen)
    digits = jnp.where(present, candidates.digit[order], NO_DIGIT)
    digit_boxes = jnp.where(present[:, None], candidates.box[order], 0.0)
    # The probability that the number ends here: no candidate that was left out is a digit. Duplicates of kept ones
    # do not count.
    left_out = (adjacent & rejected) | (member & ~chosen)
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
    index = jnp.arange(candidate.shape[0])
    later = overlaps & (index[:, None] < index)  # [M, M], row by column
    kept = candidate
    # After round i the first i + 1 are decided. A chain of boxes in which each overlaps only the next takes all rounds.
    for _ in range(candidate.shape[0] - 1):
        kept = candidate & ~jnp.any(later & kept[:, None], axis=0)
    return kept


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
    index = jnp.arange(kept.shape[0])
    for _ in range(min_length):
        free = jnp.where(jnp.any(overlaps & kept, axis=-1), 0.0, score)
        best = jnp.argmax(free)
        kept |= (index == best) & (jnp.sum(kept) < min_length) & (jnp.max(free) > 0)
    return kept
