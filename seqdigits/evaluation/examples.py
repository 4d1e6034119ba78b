"""Evaluates the first examples of a split, and keeps some of them with their predictions."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core import boxes as bx
from seqdigits.core.boxes import box_squared_error
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.core.types import Batch, Prediction
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.evaluation.restore import Restored
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import eval_metrics
from seqdigits.metrics.matching import match_predictions
from seqdigits.visualization import predictions


@dataclass(frozen=True)
class Example:
    """An example with its prediction.

    Attributes:
      index: in its split.
      image: u8 [H, W, C].
      true_boxes: f32 [n, 4], of the true digits, cxcywh in pixels.
      predicted_boxes: f32 [m, 4], of the predicted digits, or of the number where the model has no boxes of digits.
      truth: the true numbers, as text.
      predicted: the predicted numbers, as text.
      confidence: of the best predicted number, 0..1.
      is_right: whether the prediction is an exact match.
    """

    index: int
    image: np.ndarray
    true_boxes: np.ndarray
    predicted_boxes: np.ndarray
    truth: str
    predicted: str
    confidence: float
    is_right: bool


@dataclass
class EvaluatedExamples:
    """The first examples of a split, evaluated.

    Attributes:
      split: its name.
      counts: sums and counts of all of them, on the host.
      metrics: see eval_metrics.summarize.
      box_errors: f32 [n], mean squared error of the box of each image with a digit (px²), and
      overlaps: f32 [n], its IoU with the true box; both are empty where the model has no box.
      right, wrong: the first exact matches, and the first others.
      sure: the most confident of the examples whose best number is wrong, the most confident first.
    """

    split: str
    counts: eval_metrics.EvalMetrics
    metrics: dict[str, Any]
    box_errors: np.ndarray
    overlaps: np.ndarray
    right: list[Example] = field(default_factory=list)
    wrong: list[Example] = field(default_factory=list)
    sure: list[Example] = field(default_factory=list)


def evaluate_examples(
    config: ConfigDict, restored: Restored, split: str, *, limit: int, kept: int, sure: int, stop: Stop
) -> EvaluatedExamples:
    """Evaluates the first examples of a split.

    Args:
      config: that of the checkpoint.
      restored: the model with its variables.
      split: train, validation or test.
      limit: maximum number of examples.
      kept: maximum number of right examples that are kept, and of wrong ones.
      sure: likewise, of the most confident wrong ones.
      stop: ends it early.

    Raises:
      UserError: data are missing or not readable.
      Stopped: `stop` was set before the end.
    """
    source, devices = create_source(as_evaluated(config), split), restored.devices
    step = PredictStep(config, restored.model)
    arrays = devices.replicate(source.arrays)
    shapes = jax.eval_shape(
        partial(step.make_and_predict, source=source), restored.variables, arrays, source.spec.host_batch(1)
    )
    localizes, has_logits = shapes[1].box is not None, shapes[1].digit_logits is not None

    @devices.jit
    def evaluate(variables: Any, arrays: Any, host_batch: Any) -> tuple[Any, ...]:
        batch, outputs, prediction = step.make_and_predict(variables, arrays, host_batch, source)
        return eval_metrics.batch_metrics(batch, outputs, prediction), batch, prediction, _rows(batch, prediction)

    counts = None
    errors, overlaps = [], []
    found: dict[bool, list[Example]] = {True: [], False: []}
    heap: list[tuple[float, int, Example]] = []
    size = config.evaluate.batch_size
    batches = source.all(size, source.count(limit))
    for host_batch in progress(batches, -(-source.count(limit) // size), "batches", split):
        if stop.is_set():
            raise Stopped
        values = jax.device_get(evaluate(restored.variables, arrays, devices.shard_batch(host_batch)))
        new, batch, prediction, (is_right, is_top1, error, overlap) = values
        counts = new if counts is None else jax.tree.map(np.add, counts, new)
        rows = np.flatnonzero(batch.index >= 0)
        if localizes:
            has_digits = rows[(batch.digits[rows] != NO_DIGIT).any(1)]
            errors.append(error[has_digits])
            overlaps.append(overlap[has_digits])
        for row in rows.tolist():
            same = found[bool(is_right[row])]
            if len(same) < kept:
                same.append(_example(batch, prediction, row, is_right=bool(is_right[row])))
            confidence = float(prediction.confidence[row, 0])
            if sure and not is_top1[row] and (len(heap) < sure or confidence > heap[0][0]):
                item = (
                    confidence,
                    -int(batch.index[row]),
                    _example(batch, prediction, row, is_right=bool(is_right[row])),
                )
                (heapq.heappush if len(heap) < sure else heapq.heapreplace)(heap, item)
    assert counts is not None, "a split has an example"
    return EvaluatedExamples(
        split=split,
        counts=counts,
        metrics=eval_metrics.summarize(counts, localizes=localizes, has_logits=has_logits),
        box_errors=np.concatenate(errors) if localizes else np.zeros(0, np.float32),
        overlaps=np.concatenate(overlaps) if localizes else np.zeros(0, np.float32),
        right=found[True],
        wrong=found[False],
        sure=[example for _, _, example in sorted(heap, key=lambda item: item[:2], reverse=True)],
    )


def _rows(batch: Batch, prediction: Prediction) -> tuple[Array, Array, Array | None, Array | None]:
    """Returns `exact_match` and `top1_correct`, bool [B], and the squared error and IoU of the box, f32 [B]."""
    matched = match_predictions(batch, prediction)
    if matched.box is None:
        return matched.exact_match, matched.top1_correct, None, None
    true_box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
    return (
        matched.exact_match,
        matched.top1_correct,
        box_squared_error(matched.box, true_box),
        bx.iou(matched.box, true_box),
    )


def _example(batch: Batch, prediction: Prediction, row: int, *, is_right: bool) -> Example:
    return Example(
        index=int(batch.index[row]),
        image=np.array(batch.image[row]),
        true_boxes=predictions.true_boxes(batch, row),
        predicted_boxes=predictions.predicted_boxes(prediction, row),
        truth=predictions.true_text(batch, row),
        predicted=predictions.predicted_text(prediction, row),
        confidence=float(prediction.confidence[row, 0]),
        is_right=is_right,
    )
