"""Predictions of one split at one temperature, threshold and so on after another, and how right their confidences are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.types import Batch, Outputs
from seqdigits.data.create import create_source
from seqdigits.decoding import options as decoding_options
from seqdigits.decoding.decode import decode
from seqdigits.decoding.options import DecodeOptions
from seqdigits.evaluation.restore import Restored
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import matching
from seqdigits.metrics.confidence import ConfidenceHistogram, confidence_histogram

_KEPT_BYTES = 1_000_000_000
"""Outputs of so many bytes are computed once and kept; of more, again for each temperature."""


class ObjectiveSums(struct.PyTreeNode):
    """Sums over examples.

    Attributes:
      count, exact_match: i32 [], examples, and those whose prediction is an exact match.
      loss: f32 [], see negative_log_likelihood, of the numbers.
      digit_count, digit_loss: i32 [], f32 [], the same of the digits that are read.
      numbers, digits: as in eval_metrics.EvalMetrics.
    """

    count: Array
    exact_match: Array
    loss: Array
    digit_count: Array
    digit_loss: Array
    numbers: ConfidenceHistogram
    digits: ConfidenceHistogram


def negative_log_likelihood(confidence: Array, right: Array) -> Array:
    """Of what happened, where each case is right with a probability of its confidence: f32 [B], bool [B] -> f32 [B], in nats.
    Confidences are clipped to 1e-6 from 0 and 1.

    >>> said, right = jnp.array([0.8, 0.8, 1.0]), jnp.array([True, False, False])
    >>> [round(x, 1) for x in negative_log_likelihood(said, right).tolist()]
    [0.2, 1.6, 13.8]
    """
    p = jnp.clip(confidence, 1e-6, 1 - 1e-6)
    return -jnp.where(right, jnp.log(p), jnp.log1p(-p))


class Settings(NamedTuple):
    """What a reading is judged at: keys of the config's section `read`; may be traced, f32 []."""

    temperature: float | Array
    min_score: float | Array
    platt_scale: float | Array = 1.0
    platt_bias: float | Array = 0.0


def objective_sums(options: DecodeOptions, batch: Batch, outputs: Outputs, settings: Settings) -> ObjectiveSums:
    """One batch read at these settings; padding left out."""
    prediction = decode(outputs, options._replace(**settings._asdict()))
    found, row = matching.match_predictions(batch, prediction), batch.mask
    loss = negative_log_likelihood(prediction.confidence[:, 0], found.top1_correct)
    there = (prediction.digits != NO_DIGIT) & row[:, None, None]
    return ObjectiveSums(
        count=jnp.sum(row),
        exact_match=jnp.sum(row & found.exact_match),
        loss=jnp.sum(jnp.where(row, loss, 0.0)),
        digit_count=jnp.sum(there),
        digit_loss=jnp.sum(
            jnp.where(there, negative_log_likelihood(prediction.digit_confidence, found.digit_correct), 0.0)
        ),
        numbers=confidence_histogram(prediction.confidence[:, 0], found.top1_correct, row),
        digits=confidence_histogram(prediction.digit_confidence, found.digit_correct, there),
    )


class CalibrationObjective:
    """Validation, read at one temperature and min_score after another; what the model says is computed once if it fits."""

    def __init__(self, config: ConfigDict, restored: Restored, examples: int, stop: Stop | None = None):
        """`restored`: from restore.restore; `examples`: at most."""
        self._source = create_source(config, "validation")
        self._batch_size, self._examples, self._stop = config.evaluate.batch_size, examples, stop
        self._devices, self._variables = restored.devices, restored.variables
        self._arrays = self._devices.replicate(self._source.arrays)
        step = PredictStep(config, restored.model)

        def say(variables: Any, arrays: Any, host_batch: Any) -> tuple[Batch, Outputs]:
            batch, outputs, _ = step.make_and_predict(variables, arrays, host_batch, self._source)
            return batch.replace(image=batch.image[:, :0]), outputs  # nobody looks at it any more

        self._say = self._devices.jit(say)
        self._judge = self._devices.jit(
            partial(objective_sums, decoding_options.decode_options(config, self._source.spec))
        )
        said = jax.eval_shape(say, self._variables, self._arrays, self._source.spec.host_batch(1))
        each = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(said))
        self._kept: list[tuple[Batch, Outputs]] | None = None
        self._keeps = each * self._source.count(examples) <= _KEPT_BYTES

    def loss(self, settings: Settings) -> float:
        """Mean over the examples, in nats."""
        found = self._sums(settings)
        return float(found.loss) / int(found.count)

    def digit_loss(self, settings: Settings) -> float:
        """Mean over the digits that are read, in nats."""
        found = self._sums(settings)
        return float(found.digit_loss) / max(int(found.digit_count), 1)

    def metrics(self, settings: Settings) -> dict[str, Any]:
        """Names and meanings as in eval_metrics.EvalMetrics.compute."""
        found = self._sums(settings)
        return {
            "examples": int(found.count),
            "sequence_accuracy": int(found.exact_match) / int(found.count),
            "negative_log_likelihood": float(found.loss) / int(found.count),
            "calibration_error": found.numbers.calibration_error(),
            "digit_calibration_error": found.digits.calibration_error(),
            "coverage_at_98": found.numbers.coverage(0.98),
            "reliability": {"numbers": found.numbers.reliability(), "digits": found.digits.reliability()},
        }

    def _sums(self, settings: Settings) -> ObjectiveSums:
        traced = Settings(*map(jnp.float32, settings))
        parts = []
        for said in self._said():
            if self._stop is not None and self._stop.is_set():
                raise Stopped
            parts.append(jax.device_get(self._judge(*said, traced)))
        return jax.tree.map(lambda *x: np.sum(x, axis=0), *parts)

    def _said(self) -> Iterator[tuple[Batch, Outputs]]:
        """What the model says of each batch."""
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        for host_batch in self._source.all(self._batch_size, self._examples):
            said = self._say(self._variables, self._arrays, self._devices.shard_batch(host_batch))
            if self._keeps:
                kept.append(said)
            yield said
        if self._keeps:
            self._kept = kept
