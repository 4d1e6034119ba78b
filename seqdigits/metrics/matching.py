"""Readings beside the truth: which numbers and which digits agree."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Prediction

SAME_PLACE = 0.3
"""A digit or number stands where a true one does if their boxes overlap by more (IoU)."""


class Matching(struct.PyTreeNode):
    """How a batch was read. Padded rows have values too; they are for the caller to leave out.

    Attributes:
      digits: i32 [B, L], what was read for each position of Batch.digits.
      length: i32 [B], digits that were read in all.
      box: f32 [B, 4], around what was read; None where the model has no box.
      whole: bool [B], the image is right: every true number was read, and nothing else.
      top1_correct: bool [B], the best number of the reading is a true one.
      digit_correct: bool [B, N, L], a digit that was read is one of the true ones.
      numbers, numbers_predicted, numbers_matched, numbers_correct: i32 [B], true numbers, those read, and how many of each agree
        with one of the other. Zeros where an image has one number by definition.
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
    """The agreement of a batch and its reading.

    One number an image by definition (Batch.number is None and N = 1): it is right if every position and the length are,
    wherever it stands. Otherwise a number is right if the digits are, and its hull overlaps by more than SAME_PLACE (IoU),
    where the model says where it is; and `digits` holds, for each true number, the reading that agrees, or else the one that
    overlaps most.
    """
    digit_correct = _digits_correct(batch, prediction)
    if batch.number is None and prediction.digits.shape[1] == 1:
        digits, length = prediction.digits[:, 0], prediction.length[:, 0]
        true_length = jnp.sum(batch.digits != NO_DIGIT, axis=-1)
        exact_match = jnp.all(digits == batch.digits, axis=-1) & (length == true_length)
        box, zero = None if prediction.box is None else prediction.box[:, 0], jnp.zeros_like(length)
        return Matching(digits, length, box, exact_match, exact_match, digit_correct, zero, zero, zero, zero)
    return _several(batch, prediction, digit_correct)


def _several(batch: Batch, prediction: Prediction, digit_correct: Array) -> Matching:
    strings, member = _true_numbers(batch)  # [B, L, L] of number k: its digits to the left, and its places
    there, read = jnp.any(member, axis=-1), prediction.length > 0  # [B, L], [B, N]
    same = jnp.all(strings[:, :, None] == prediction.digits[:, None], axis=-1)  # [B, L, N]
    same &= (jnp.sum(member, axis=-1)[:, :, None] == prediction.length[:, None]) & there[..., None] & read[:, None]
    near, box = jnp.where(read[:, None] & there[..., None], 1.0, 0.0), None
    if prediction.box is not None:
        enclosing_boxes = bx.enclosing_box(batch.boxes[:, None], member)  # [B, L, 4]
        near *= bx.iou(enclosing_boxes[:, :, None], prediction.box[:, None])
        around = bx.enclosing_box(prediction.box, read)
        box = jnp.where(jnp.any(read, axis=-1)[:, None], around, prediction.box[:, 0])
    agrees = same & (near > SAME_PLACE)  # [B, L, N]
    found, right = jnp.any(agrees, axis=2), jnp.any(agrees, axis=1)
    numbers, numbers_predicted = jnp.sum(there, axis=-1), jnp.sum(read, axis=-1)
    exact_match = jnp.all(found == there, axis=-1) & jnp.all(right == read, axis=-1) & (numbers == numbers_predicted)
    chosen = jnp.argmax(agrees + near, axis=-1)  # [B, L]
    beside = jnp.take_along_axis(prediction.digits, chosen[..., None], axis=1)  # [B, L, L] for each true number
    beside = jnp.where((jnp.max(near, axis=-1) > SAME_PLACE)[..., None], beside, NO_DIGIT)
    number = jnp.zeros_like(batch.digits) if batch.number is None else batch.number
    row = jnp.arange(number.shape[0])[:, None]
    place = jnp.arange(number.shape[1]) - jnp.argmax(member, axis=-1)[row, number]  # within its number
    return Matching(
        digits=jnp.where(batch.digits == NO_DIGIT, NO_DIGIT, beside[row, number, place]),
        length=jnp.sum(prediction.length, axis=-1),
        box=box,
        exact_match=exact_match,
        top1_correct=jnp.where(read[:, 0], right[:, 0], numbers == 0),
        digit_correct=digit_correct,
        numbers=numbers,
        numbers_predicted=numbers_predicted,
        numbers_matched=jnp.sum(found, axis=-1),
        numbers_correct=jnp.sum(right, axis=-1),
    )


def _true_numbers(batch: Batch) -> tuple[Array, Array]:
    """Of each number k of each image, of at most L: i32 [B, L, L], its digits, NO_DIGIT behind the last; bool [B, L, L], its
    positions in Batch.digits."""
    positions = jnp.arange(batch.digits.shape[1])
    number = jnp.zeros_like(batch.digits) if batch.number is None else batch.number
    member = (number[:, None] == positions[:, None]) & (batch.digits != NO_DIGIT)[:, None]  # [B, k, L]
    order = jnp.argsort(~member, axis=-1, stable=True)  # its own first, as they stand
    digits = jnp.take_along_axis(jnp.where(member, batch.digits[:, None], NO_DIGIT), order, axis=-1)
    return digits, member


def _digits_correct(batch: Batch, prediction: Prediction) -> Array:
    """bool [B, N, L]: by place and class where a reading says where its digits stand, else by position."""
    if prediction.digit_boxes is None:
        return prediction.digits == batch.digits[:, None]

    def one(digits: Array, boxes: Array, truth: Array, true_boxes: Array) -> Array:
        place = bx.iou(boxes[:, :, None], true_boxes) > SAME_PLACE  # [N, L, L]
        return jnp.any(place & (digits[:, :, None] == truth) & (truth != NO_DIGIT), axis=-1)

    return jax.vmap(one)(prediction.digits, prediction.digit_boxes, batch.digits, batch.boxes)
