"""Matches predictions with the ground truth: which numbers and which digits are correct."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Prediction

MIN_IOU = 0.3
"""A predicted digit or number matches the location of a true one if the IoU of their boxes is above this."""


class Matching(struct.PyTreeNode):
    """The matching of a batch. Padded rows have values too; the caller has to mask them.

    Attributes:
      digits: i32 [B, L], the prediction for each position of Batch.digits.
      length: i32 [B], number of predicted digits of all numbers.
      box: f32 [B, 4], enclosing box of the prediction, cxcywh in pixels; None where the model has no box.
      exact_match: bool [B], every true number is predicted, and nothing else.
      top1_correct: bool [B], the best predicted number is a true one.
      digit_correct: bool [B, N, L], a predicted digit is a true one.
      numbers: i32 [B], true numbers. This and the next three are zeros where an image has one number by definition.
      numbers_predicted: i32 [B], predicted numbers.
      numbers_matched: i32 [B], true numbers that are matched by a predicted one.
      numbers_correct: i32 [B], predicted numbers that match a true one.
    """

    digits: Array
    length: Array
    box: Array | None
    exact_match: Array
    top1_correct: Array
    digit_correct: Array
    numbers: Array
    numbers_predicted: Array
    numbers_matched: Array
    numbers_correct: Array


def match_predictions(batch: Batch, prediction: Prediction) -> Matching:
    """Matches the predictions of a batch with its ground truth.

    Where an image has one number by definition (Batch.number is None and N = 1), the number is correct if every
    position and the length are, at any location. Otherwise a number is correct if its digits are and, for a model with
    boxes, the IoU of the enclosing boxes is above MIN_IOU. `Matching.digits` then takes for each true number the
    predicted one that matches, or else the one with the highest IoU.
    """
    digit_correct = _digits_correct(batch, prediction)
    if batch.number is None and prediction.digits.shape[1] == 1:
        digits, length = prediction.digits[:, 0], prediction.length[:, 0]
        true_length = jnp.sum(batch.digits != NO_DIGIT, axis=-1)
        exact_match = jnp.all(digits == batch.digits, axis=-1) & (length == true_length)
        box, zero = None if prediction.box is None else prediction.box[:, 0], jnp.zeros_like(length)
        return Matching(digits, length, box, exact_match, exact_match, digit_correct, zero, zero, zero, zero)
    return _match_numbers(batch, prediction, digit_correct)


def _match_numbers(batch: Batch, prediction: Prediction, digit_correct: Array) -> Matching:
    number, true_digits, member = _true_numbers(batch)  # [B, L, L], for each number k
    is_number, is_predicted = jnp.any(member, axis=-1), prediction.length > 0  # [B, L], [B, N]
    same_digits = jnp.all(true_digits[:, :, None] == prediction.digits[:, None], axis=-1)  # [B, L, N]
    same_digits &= (
        (jnp.sum(member, axis=-1)[:, :, None] == prediction.length[:, None])
        & is_number[..., None]
        & is_predicted[:, None]
    )
    overlap, box = jnp.where(is_predicted[:, None] & is_number[..., None], 1.0, 0.0), None
    if prediction.box is not None:
        true_boxes = bx.enclosing_box(batch.boxes[:, None], member)  # [B, L, 4]
        overlap *= bx.iou(true_boxes[:, :, None], prediction.box[:, None])
        enclosing_box = bx.enclosing_box(prediction.box, is_predicted)
        box = jnp.where(jnp.any(is_predicted, axis=-1)[:, None], enclosing_box, prediction.box[:, 0])
    matches = same_digits & (overlap > MIN_IOU)  # [B, L, N]
    matched, correct = jnp.any(matches, axis=2), jnp.any(matches, axis=1)
    numbers, numbers_predicted = jnp.sum(is_number, axis=-1), jnp.sum(is_predicted, axis=-1)
    exact_match = (
        jnp.all(matched == is_number, axis=-1)
        & jnp.all(correct == is_predicted, axis=-1)
        & (numbers == numbers_predicted)
    )
    best = jnp.argmax(matches + overlap, axis=-1)  # [B, L], the predicted number for each true one
    counterpart = jnp.take_along_axis(prediction.digits, best[..., None], axis=1)  # [B, L, L]
    counterpart = jnp.where((jnp.max(overlap, axis=-1) > MIN_IOU)[..., None], counterpart, NO_DIGIT)
    row = jnp.arange(number.shape[0])[:, None]
    position = jnp.arange(number.shape[1]) - jnp.argmax(member, axis=-1)[row, number]  # within its number
    return Matching(
        digits=jnp.where(batch.digits == NO_DIGIT, NO_DIGIT, counterpart[row, number, position]),
        length=jnp.sum(prediction.length, axis=-1),
        box=box,
        exact_match=exact_match,
        top1_correct=jnp.where(is_predicted[:, 0], correct[:, 0], numbers == 0),
        digit_correct=digit_correct,
        numbers=numbers,
        numbers_predicted=numbers_predicted,
        numbers_matched=jnp.sum(matched, axis=-1),
        numbers_correct=jnp.sum(correct, axis=-1),
    )


def _true_numbers(batch: Batch) -> tuple[Array, Array, Array]:
    """Splits the true digits of each image into its numbers k, at most L.

    Returns:
      i32 [B, L], the number k of each digit; i32 [B, L, L], the digits of each number, NO_DIGIT after the last;
      bool [B, L, L], its positions in Batch.digits.
    """
    positions = jnp.arange(batch.digits.shape[1])
    number = jnp.zeros_like(batch.digits) if batch.number is None else batch.number
    member = (number[:, None] == positions[:, None]) & (batch.digits != NO_DIGIT)[:, None]  # [B, k, L]
    order = jnp.argsort(~member, axis=-1, stable=True)  # the digits of the number first, in their order
    digits = jnp.take_along_axis(jnp.where(member, batch.digits[:, None], NO_DIGIT), order, axis=-1)
    return number, digits, member


def _digits_correct(batch: Batch, prediction: Prediction) -> Array:
    """Returns which predicted digits are correct, bool [B, N, L].

    They are compared by location and class where the prediction has boxes of digits, else by position.
    """
    if prediction.digit_boxes is None:
        return prediction.digits == batch.digits[:, None]

    def match_image(digits: Array, boxes: Array, true_digits: Array, true_boxes: Array) -> Array:
        overlaps = bx.iou(boxes[:, :, None], true_boxes) > MIN_IOU  # [N, L, L]
        return jnp.any(overlaps & (digits[:, :, None] == true_digits) & (true_digits != NO_DIGIT), axis=-1)

    return jax.vmap(match_image)(prediction.digits, prediction.digit_boxes, batch.digits, batch.boxes)
