"""Metrics as sums and counts on the device (clu.metrics), merged there; one division at the end, on the host.

This file defines clu collections, so it must not use `from __future__ import annotations`.
"""

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
    """What evaluation counts. Padding counts nowhere.

    Attributes:
      correct_at: i32 [L], images whose position is right.
      lengths, correct_by_length: i32 [L+1], images of each true length, and those of them read right as a whole.
      length_correct: i32 [], images whose number of digits is right.
      confusion: i32 [11, 11], positions by truth (row) and reading (column).
      wrong_in_missed: i32 [L+1], missed numbers by how many of their positions are wrong; at 0 those that have a digit
        too many behind position L.
      box_error, center_error, overlap: f32 [], sums over images of the squared error (mean of the four numbers, px²), of
        the distance of the centers (px), and of IoU.
      entropy: f32 [], sum over images of the mean cross entropy of positions.
      numbers, numbers_predicted, numbers_matched, numbers_correct: i32 [], true numbers, those of readings, and how many of each agree
        with one of the other; 0 where an image has one number by definition.
      number_confidence, digit_confidence_histogram: of the best number of each image, and of all digits that are read.
      ranks: i32 [K], positions by how many classes the model holds for likelier than the true one; of two alike the
        first is the likelier, as argmax has it, and what is not a number counts nowhere.
    """

    correct_at: Array
    lengths: Array
    correct_by_length: Array
    length_correct: Array
    confusion: Array
    wrong_in_missed: Array
    box_error: Array
    center_error: Array
    overlap: Array
    entropy: Array
    ranks: Array
    numbers: Array
    numbers_predicted: Array
    numbers_matched: Array
    numbers_correct: Array
    number_confidence: ConfidenceHistogram
    digit_confidence_histogram: ConfidenceHistogram

    def merge(self, other: "EvalMetrics") -> "EvalMetrics":
        return jax.tree.map(jnp.add, self, other)

    def compute(self) -> dict[str, Any]:
        """Counts and shares; see `summarize`."""
        count = jax.tree.map(np.asarray, self)
        examples = int(count.lengths.sum())
        characters = examples * len(count.correct_at)
        digits = count.confusion[:NO_DIGIT]
        return {
            "examples": examples,
            "sequence_accuracy": _share(count.correct_by_length.sum(), examples),
            "character_accuracy": _share(count.correct_at.sum(), characters),
            "digit_accuracy": _share(np.trace(digits), digits.sum()),
            "length_accuracy": _share(count.length_correct, examples),
            "accuracy_by_position": [_share(right, examples) for right in count.correct_at],
            "accuracy_by_length": {
                str(n): _share(right, there)
                for n, (right, there) in enumerate(zip(count.correct_by_length, count.lengths, strict=True))
                if there
            },
            "examples_by_length": {str(n): int(there) for n, there in enumerate(count.lengths) if there},
            "localization_error": _share(count.box_error, examples),
            "center_error": _share(count.center_error, examples),
            "iou": _share(count.overlap, examples),
            "cross_entropy": _share(count.entropy, examples),
            "top_k_accuracy": [_share(right, characters) for right in np.cumsum(count.ranks)],
            "number_recall": _share(count.numbers_matched, int(count.numbers)),
            "number_precision": _share(count.numbers_correct, int(count.numbers_predicted)),
            "calibration_error": count.number_confidence.calibration_error(),
            "digit_calibration_error": count.digit_confidence_histogram.calibration_error(),
            "coverage_at_98": count.number_confidence.coverage(0.98),
            "reliability": {
                "numbers": count.number_confidence.reliability(),
                "digits": count.digit_confidence_histogram.reliability(),
            },
            "wrong_digits_per_missed_number": count.wrong_in_missed.tolist(),
            "confusion": count.confusion.tolist(),
        }


def _share(part: np.ndarray, exact_match: Any) -> float | None:
    return float(part) / float(exact_match) if exact_match else None


def batch_metrics(batch: Batch, outputs: Outputs, prediction: Prediction) -> EvalMetrics:
    """Counts one batch, padding left out. Positions, lengths and boxes are those of matching.match_predictions: of several numbers
    all together."""
    row = batch.mask
    found = matching.match_predictions(batch, prediction)
    digits, length, exact_match = found.digits, found.length, found.exact_match
    right = digits == batch.digits  # [B, L]
    true_length = jnp.sum(batch.digits != NO_DIGIT, axis=-1)
    wrong = jnp.sum(~right, axis=-1)
    positions = batch.digits.shape[1]
    bins = positions + 1

    def total(values: Array) -> Array:
        return jnp.sum(jnp.where(row, values, 0))

    def histogram(of: Array, rows: Array) -> Array:
        return jnp.zeros(bins, jnp.int32).at[of].add(rows.astype(jnp.int32))

    classes = NO_DIGIT + 1
    cell = batch.digits * classes + digits  # [B, L]
    counted = jnp.broadcast_to(row[:, None], cell.shape).astype(jnp.int32)
    zero = jnp.zeros((), jnp.float32)
    box_error = center_error = overlap = entropy = zero
    ranks = jnp.zeros(classes, jnp.int32)
    if found.box is not None:
        truth, box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT), found.box
        box_error = total(box_squared_error(box, truth))
        center_error = total(jnp.linalg.norm(box[:, :2] - truth[:, :2], axis=-1))
        overlap = total(bx.iou(box, truth))
    if outputs.digit_logits is not None:
        entropy = total(
            jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs.digit_logits, batch.digits), axis=-1)
        )
        logits, truth = outputs.digit_logits, batch.digits[..., None]
        of_truth = jnp.take_along_axis(logits, truth, axis=-1)
        behind = (logits < of_truth) | ((logits == of_truth) & (jnp.arange(logits.shape[-1]) >= truth))
        rank = jnp.sum(~behind, axis=-1)  # [B, L]; K where the truth's logit is not a number, which `add` drops
        ranks = jnp.zeros(logits.shape[-1], jnp.int32)
        ranks = ranks.at[rank].add(jnp.broadcast_to(row[:, None], rank.shape).astype(jnp.int32))
    return EvalMetrics(
        correct_at=jnp.sum(right & row[:, None], axis=0),
        lengths=histogram(true_length, row),
        correct_by_length=histogram(true_length, row & exact_match),
        length_correct=jnp.sum(row & (length == true_length)),
        confusion=jnp.zeros(classes**2, jnp.int32).at[cell].add(counted).reshape(classes, classes),
        wrong_in_missed=histogram(wrong, row & ~exact_match),
        box_error=box_error,
        center_error=center_error,
        overlap=overlap,
        entropy=entropy,
        ranks=ranks,
        numbers=total(found.numbers),
        numbers_predicted=total(found.numbers_predicted),
        numbers_matched=total(found.numbers_matched),
        numbers_correct=total(found.numbers_correct),
        number_confidence=confidence_histogram(prediction.confidence[:, 0], found.top1_correct, row),
        digit_confidence_histogram=confidence_histogram(
            prediction.digit_confidence, found.digit_correct, (prediction.digits != NO_DIGIT) & row[:, None, None]
        ),
    )


def summarize(counted: EvalMetrics, *, localizes: bool, has_logits: bool) -> dict[str, Any]:
    """The figures of an evaluation; null where the model has no such part."""
    summary = counted.compute()
    for name in ("localization_error", "center_error", "iou"):
        summary[name] = summary[name] if localizes else None
    if not has_logits:
        summary["cross_entropy"] = summary["top_k_accuracy"] = None
    return summary
