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
from seqdigits.core.types import Batch, Outputs, Reading
from seqdigits.metrics import matching
from seqdigits.metrics.confidence import Certainty, certainty


@flax.struct.dataclass
class Tally(clu_metrics.Metric):
    """What evaluation counts. Padding counts nowhere.

    Attributes:
      right_at: i32 [L], images whose position is right.
      lengths, right_lengths: i32 [L+1], images of each true length, and those of them read right as a whole.
      right_length: i32 [], images whose number of digits is right.
      confusion: i32 [11, 11], positions by truth (row) and reading (column).
      wrong_in_missed: i32 [L+1], missed numbers by how many of their positions are wrong; at 0 those that have a digit
        too many behind position L.
      box_error, centre_error, overlap: f32 [], sums over images of the squared error (mean of the four numbers, px²), of
        the distance of the centres (px), and of IoU.
      entropy: f32 [], sum over images of the mean cross entropy of positions.
      numbers, numbers_read, numbers_found, numbers_right: i32 [], true numbers, those of readings, and how many of each agree
        with one of the other; 0 where an image has one number by definition.
      number_certainty, digit_certainty: of the best number of each image, and of all digits that are read.
      ranks: i32 [K], positions by how many classes the model holds for likelier than the true one; of two alike the
        first is the likelier, as argmax has it, and what is not a number counts nowhere.
    """

    right_at: Array
    lengths: Array
    right_lengths: Array
    right_length: Array
    confusion: Array
    wrong_in_missed: Array
    box_error: Array
    centre_error: Array
    overlap: Array
    entropy: Array
    ranks: Array
    numbers: Array
    numbers_read: Array
    numbers_found: Array
    numbers_right: Array
    number_certainty: Certainty
    digit_certainty: Certainty

    def merge(self, other: "Tally") -> "Tally":
        return jax.tree.map(jnp.add, self, other)

    def compute(self) -> dict[str, Any]:
        """Counts and shares; see `summarize`."""
        count = jax.tree.map(np.asarray, self)
        examples = int(count.lengths.sum())
        characters = examples * len(count.right_at)
        digits = count.confusion[:NO_DIGIT]
        return {
            "examples": examples,
            "sequence_accuracy": _share(count.right_lengths.sum(), examples),
            "character_accuracy": _share(count.right_at.sum(), characters),
            "digit_accuracy": _share(np.trace(digits), digits.sum()),
            "length_accuracy": _share(count.right_length, examples),
            "accuracy_by_position": [_share(right, examples) for right in count.right_at],
            "accuracy_by_length": {
                str(n): _share(right, there)
                for n, (right, there) in enumerate(zip(count.right_lengths, count.lengths, strict=True))
                if there
            },
            "examples_by_length": {str(n): int(there) for n, there in enumerate(count.lengths) if there},
            "localization_error": _share(count.box_error, examples),
            "centre_error": _share(count.centre_error, examples),
            "iou": _share(count.overlap, examples),
            "cross_entropy": _share(count.entropy, examples),
            "top_k_accuracy": [_share(right, characters) for right in np.cumsum(count.ranks)],
            "number_recall": _share(count.numbers_found, int(count.numbers)),
            "number_precision": _share(count.numbers_right, int(count.numbers_read)),
            "calibration_error": count.number_certainty.calibration_error(),
            "digit_calibration_error": count.digit_certainty.calibration_error(),
            "coverage_at_98": count.number_certainty.coverage(0.98),
            "reliability": {
                "numbers": count.number_certainty.reliability(),
                "digits": count.digit_certainty.reliability(),
            },
            "wrong_digits_per_missed_number": count.wrong_in_missed.tolist(),
            "confusion": count.confusion.tolist(),
        }


def _share(part: np.ndarray, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None


def tally(batch: Batch, outputs: Outputs, reading: Reading) -> Tally:
    """Counts one batch, padding left out. Positions, lengths and boxes are those of matching.compare: of several numbers
    all together."""
    row = batch.mask
    found = matching.compare(batch, reading)
    digits, length, whole = found.digits, found.length, found.whole
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
    box_error = centre_error = overlap = entropy = zero
    ranks = jnp.zeros(classes, jnp.int32)
    if found.box is not None:
        truth, box = bx.hull(batch.boxes, batch.digits != NO_DIGIT), found.box
        box_error = total(box_squared_error(box, truth))
        centre_error = total(jnp.linalg.norm(box[:, :2] - truth[:, :2], axis=-1))
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
    return Tally(
        right_at=jnp.sum(right & row[:, None], axis=0),
        lengths=histogram(true_length, row),
        right_lengths=histogram(true_length, row & whole),
        right_length=jnp.sum(row & (length == true_length)),
        confusion=jnp.zeros(classes**2, jnp.int32).at[cell].add(counted).reshape(classes, classes),
        wrong_in_missed=histogram(wrong, row & ~whole),
        box_error=box_error,
        centre_error=centre_error,
        overlap=overlap,
        entropy=entropy,
        ranks=ranks,
        numbers=total(found.numbers),
        numbers_read=total(found.numbers_read),
        numbers_found=total(found.numbers_found),
        numbers_right=total(found.numbers_right),
        number_certainty=certainty(reading.confidence[:, 0], found.best_right, row),
        digit_certainty=certainty(
            reading.digit_confidence, found.digit_right, (reading.digits != NO_DIGIT) & row[:, None, None]
        ),
    )


def summarize(counted: Tally, *, localizes: bool, has_logits: bool) -> dict[str, Any]:
    """The figures of an evaluation; null where the model has no such part."""
    summary = counted.compute()
    for name in ("localization_error", "centre_error", "iou"):
        summary[name] = summary[name] if localizes else None
    if not has_logits:
        summary["cross_entropy"] = summary["top_k_accuracy"] = None
    return summary
