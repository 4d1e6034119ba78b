"""Evaluation metrics: sums and counts on the device (clu.metrics), merged there, divided once at the end on the host.

This module defines clu metrics, so it must not use `from __future__ import annotations`.
"""

import math
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics as clu_metrics
from jax import Array

from seqdigits.core import boxes as bx
from seqdigits.core.boxes import box_squared_error
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Outputs, Prediction
from seqdigits.metrics import matching
from seqdigits.metrics.confidence import ConfidenceHistogram, confidence_histogram


@flax.struct.dataclass
class EvalMetrics(clu_metrics.Metric):
    """The sums and counts of an evaluation, without padded rows.

    Attributes:
      correct_by_position: i32 [L], images whose position is correct.
      images_by_length: i32 [L+1], images of each true length.
      correct_by_length: i32 [L+1], exact matches of each true length.
      length_correct: i32 [], images whose number of digits is correct.
      confusion: i32 [11, 11], positions by true class (row) and predicted class (column).
      missed_by_wrong_digits: i32 [L+1], images without an exact match, by their number of wrong positions; at 0 those
        with a digit too many after position L, or with a number that is not there.
      box_error: f32 [], sum over images with a digit of the mean squared error of the box (px²); the others have no box.
      box_error_squared: f32 [], sum over these images of the square of that.
      center_error: f32 [], sum over these images of the distance of the box centers (px).
      overlap: f32 [], sum over these images of the IoU of the boxes.
      entropy: f32 [], sum over images of the mean cross entropy of their positions, in nats.
      entropy_squared: f32 [], sum over images of the square of that.
      classes_correct: i32 [], outputs (one for each position and class) on the correct side of a probability of 0.5.
      ranks: i32 [K], positions by the rank of the true class, 0 = the most probable. Of equal logits the class with
        the lower index ranks first, as in argmax. A position whose true logit is NaN is not counted.
      numbers: i32 [], true numbers. This and the next three are 0 where an image has one number by definition.
      numbers_predicted: i32 [], predicted numbers.
      numbers_matched: i32 [], true numbers that are matched by a predicted one.
      numbers_correct: i32 [], predicted numbers that match a true one.
      number_confidences: of the best number of each image.
      digit_confidences: of all predicted digits.
    """

    correct_by_position: Array
    images_by_length: Array
    correct_by_length: Array
    length_correct: Array
    confusion: Array
    missed_by_wrong_digits: Array
    box_error: Array
    box_error_squared: Array
    center_error: Array
    overlap: Array
    entropy: Array
    entropy_squared: Array
    classes_correct: Array
    ranks: Array
    numbers: Array
    numbers_predicted: Array
    numbers_matched: Array
    numbers_correct: Array
    number_confidences: ConfidenceHistogram
    digit_confidences: ConfidenceHistogram

    def merge(self, other: "EvalMetrics") -> "EvalMetrics":
        """Adds the counts of two evaluations."""
        return jax.tree.map(jnp.add, self, other)

    def compute(self) -> dict[str, Any]:
        """Returns the metrics of the evaluation; the names are those of stored results, see also `summarize`."""
        count = jax.tree.map(np.asarray, self)
        examples = int(count.images_by_length.sum())
        with_digits = int(count.images_by_length[1:].sum())
        characters = examples * len(count.correct_by_position)
        digits = count.confusion[:NO_DIGIT]
        return {
            "examples": examples,
            "sequence_accuracy": _ratio(count.correct_by_length.sum(), examples),
            "character_accuracy": _ratio(count.correct_by_position.sum(), characters),
            "digit_accuracy": _ratio(np.trace(digits), digits.sum()),
            "length_accuracy": _ratio(count.length_correct, examples),
            "accuracy_by_position": [_ratio(correct, examples) for correct in count.correct_by_position],
            "accuracy_by_length": {
                str(n): _ratio(correct, images)
                for n, (correct, images) in enumerate(zip(count.correct_by_length, count.images_by_length, strict=True))
                if images
            },
            "examples_by_length": {str(n): int(images) for n, images in enumerate(count.images_by_length) if images},
            "localization_error": _ratio(count.box_error, with_digits),
            "localization_error_standard_error": _standard_error(count.box_error, count.box_error_squared, with_digits),
            "center_error": _ratio(count.center_error, with_digits),
            "iou": _ratio(count.overlap, with_digits),
            "cross_entropy": _ratio(count.entropy, examples),
            "cross_entropy_standard_error": _standard_error(count.entropy, count.entropy_squared, examples),
            "binary_accuracy": _ratio(count.classes_correct, characters * len(count.ranks)),
            "top_k_accuracy": [_ratio(correct, characters) for correct in np.cumsum(count.ranks)],
            "number_recall": _ratio(count.numbers_matched, int(count.numbers)),
            "number_precision": _ratio(count.numbers_correct, int(count.numbers_predicted)),
            "calibration_error": count.number_confidences.calibration_error(),
            "digit_calibration_error": count.digit_confidences.calibration_error(),
            "coverage_at_98": count.number_confidences.coverage(0.98),
            "reliability": {
                "numbers": count.number_confidences.reliability(),
                "digits": count.digit_confidences.reliability(),
            },
            "wrong_digits_per_missed_number": count.missed_by_wrong_digits.tolist(),
            "confusion": count.confusion.tolist(),
        }


def _ratio(part: np.ndarray, total: Any) -> float | None:
    return float(part) / float(total) if total else None


def _standard_error(total: np.ndarray, squared: np.ndarray, count: int) -> float | None:
    """Returns the standard error of the mean of `count` values with a sum and a sum of squares.

    None for fewer than two, for sums that are not finite, and where the deviation is less than a hundredth of the mean: rounding of
    the float32 sums would decide it.

    >>> round(_standard_error(np.array(6.0), np.array(14.0), 3), 4)  # of 1, 2 and 3, whose standard deviation is 1
    0.5774
    """
    if count < 2 or not np.isfinite([total, squared]).all():
        return None
    variance, mean = (float(squared) - float(total) ** 2 / count) / (count - 1), float(total) / count
    return math.sqrt(variance / count) if variance >= 1e-4 * mean**2 else None


def batch_metrics(batch: Batch, outputs: Outputs, prediction: Prediction) -> EvalMetrics:
    """Counts one batch, without padded rows.

    Positions, lengths and boxes are those of matching.match_predictions. Where an image has several numbers, they are
    those of all its numbers together; a predicted number that the image does not have makes the image and its length wrong, but
    no position.
    """
    row = batch.mask
    matched = matching.match_predictions(batch, prediction)
    digits, length, exact_match = matched.digits, matched.length, matched.exact_match
    correct = digits == batch.digits  # [B, L]
    true_length = jnp.sum(batch.digits != NO_DIGIT, axis=-1)
    wrong = jnp.sum(~correct, axis=-1)
    positions = batch.digits.shape[1]
    bins = positions + 1

    def total(values: Array) -> Array:
        return jnp.sum(jnp.where(row, values, 0))

    def histogram(values: Array, rows: Array) -> Array:
        return jnp.zeros(bins, jnp.int32).at[values].add(rows.astype(jnp.int32))

    classes = NO_DIGIT + 1
    cell = batch.digits * classes + digits  # [B, L]
    counted = jnp.broadcast_to(row[:, None], cell.shape).astype(jnp.int32)
    zero = jnp.zeros((), jnp.float32)
    box_error = box_error_squared = center_error = overlap = entropy = entropy_squared = zero
    classes_correct = jnp.zeros((), jnp.int32)
    ranks = jnp.zeros(classes, jnp.int32)
    if matched.box is not None:
        has_digits = true_length > 0
        true_box, box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT), matched.box
        error = jnp.where(has_digits, box_squared_error(box, true_box), 0)
        box_error, box_error_squared = total(error), total(error**2)
        center_error = total(jnp.where(has_digits, jnp.linalg.norm(box[:, :2] - true_box[:, :2], axis=-1), 0))
        overlap = total(jnp.where(has_digits, bx.iou(box, true_box), 0))
    if outputs.digit_logits is not None:
        of_image = jnp.mean(
            optax.softmax_cross_entropy_with_integer_labels(outputs.digit_logits, batch.digits), axis=-1
        )
        entropy, entropy_squared = total(of_image), total(of_image**2)
        is_true = jax.nn.one_hot(batch.digits, outputs.digit_logits.shape[-1], dtype=bool)
        is_predicted = jax.nn.softmax(outputs.digit_logits) > 0.5
        classes_correct = jnp.sum((is_predicted == is_true) & row[:, None, None])
        logits, true_class = outputs.digit_logits, batch.digits[..., None]
        true_logit = jnp.take_along_axis(logits, true_class, axis=-1)
        ranked_after = (logits < true_logit) | ((logits == true_logit) & (jnp.arange(logits.shape[-1]) >= true_class))
        rank = jnp.sum(~ranked_after, axis=-1)  # [B, L]; K where the true logit is NaN, which `add` drops
        ranks = jnp.zeros(logits.shape[-1], jnp.int32)
        ranks = ranks.at[rank].add(jnp.broadcast_to(row[:, None], rank.shape).astype(jnp.int32))
    return EvalMetrics(
        correct_by_position=jnp.sum(correct & row[:, None], axis=0),
        images_by_length=histogram(true_length, row),
        correct_by_length=histogram(true_length, row & exact_match),
        length_correct=jnp.sum(row & (length == true_length)),
        confusion=jnp.zeros(classes**2, jnp.int32).at[cell].add(counted).reshape(classes, classes),
        missed_by_wrong_digits=histogram(wrong, row & ~exact_match),
        box_error=box_error,
        box_error_squared=box_error_squared,
        center_error=center_error,
        overlap=overlap,
        entropy=entropy,
        entropy_squared=entropy_squared,
        classes_correct=classes_correct,
        ranks=ranks,
        numbers=total(matched.numbers),
        numbers_predicted=total(matched.numbers_predicted),
        numbers_matched=total(matched.numbers_matched),
        numbers_correct=total(matched.numbers_correct),
        number_confidences=confidence_histogram(prediction.confidence[:, 0], matched.top1_correct, row),
        digit_confidences=confidence_histogram(
            prediction.digit_confidence, matched.digit_correct, (prediction.digits != NO_DIGIT) & row[:, None, None]
        ),
    )


def summarize(counted: EvalMetrics, *, localizes: bool, has_logits: bool) -> dict[str, Any]:
    """Returns the metrics of an evaluation; None where the model has no box or no logits of positions."""
    summary = counted.compute()
    of_boxes = ("localization_error", "localization_error_standard_error", "center_error", "iou")
    of_logits = ("cross_entropy", "cross_entropy_standard_error", "binary_accuracy", "top_k_accuracy")
    unknown = (*(() if localizes else of_boxes), *(() if has_logits else of_logits))
    return summary | dict.fromkeys(unknown)
