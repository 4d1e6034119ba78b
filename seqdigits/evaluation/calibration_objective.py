"""The objective of calibration: losses and metrics of one split under changing decoding settings."""

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

_MAX_CACHED_BYTES = 1_000_000_000
"""Model outputs of at most this many bytes are computed once and cached; larger ones are recomputed for each setting."""


class ObjectiveSums(struct.PyTreeNode):
    """Sums over examples.

    Attributes:
      count, exact_match: i32 [], the number of examples, and of those whose prediction is an exact match.
      loss: f32 [], the summed negative_log_likelihood of the numbers.
      digit_count, digit_loss: i32 [], f32 [], the same two sums over the predicted digits.
      numbers, digits: as in eval_metrics.EvalMetrics.
    """

    count: Array
    exact_match: Array
    loss: Array
    digit_count: Array
    digit_loss: Array
    numbers: ConfidenceHistogram
    digits: ConfidenceHistogram


def negative_log_likelihood(confidence: Array, correct: Array) -> Array:
    """Returns the negative log likelihood of correctness, f32 [..], bool [..] -> f32 [..], in nats.

    Each case is taken to be correct with a probability of its confidence. Confidences are clipped to 1e-6 from 0 and 1.

    >>> confidence, correct = jnp.array([0.8, 0.8, 1.0]), jnp.array([True, False, False])
    >>> [round(x, 1) for x in negative_log_likelihood(confidence, correct).tolist()]
    [0.2, 1.6, 13.8]
    """
    p = jnp.clip(confidence, 1e-6, 1 - 1e-6)
    return -jnp.where(correct, jnp.log(p), jnp.log1p(-p))


class Settings(NamedTuple):
    """The keys of the config section `decode` that calibration sets; may be traced, f32 []."""

    temperature: float | Array
    min_score: float | Array
    platt_scale: float | Array = 1.0
    platt_bias: float | Array = 0.0


def objective_sums(options: DecodeOptions, batch: Batch, outputs: Outputs, settings: Settings) -> ObjectiveSums:
    """Returns the sums over one batch, decoded with these settings; padding is not counted."""
    prediction = decode(outputs, options._replace(**settings._asdict()))
    matches, valid = matching.match_predictions(batch, prediction), batch.mask
    loss = negative_log_likelihood(prediction.confidence[:, 0], matches.top1_correct)
    is_digit = (prediction.digits != NO_DIGIT) & valid[:, None, None]
    return ObjectiveSums(
        count=jnp.sum(valid),
        exact_match=jnp.sum(valid & matches.exact_match),
        loss=jnp.sum(jnp.where(valid, loss, 0.0)),
        digit_count=jnp.sum(is_digit),
        digit_loss=jnp.sum(
            jnp.where(is_digit, negative_log_likelihood(prediction.digit_confidence, matches.digit_correct), 0.0)
        ),
        numbers=confidence_histogram(prediction.confidence[:, 0], matches.top1_correct, valid),
        digits=confidence_histogram(prediction.digit_confidence, matches.digit_correct, is_digit),
    )


class CalibrationObjective:
    """The validation split, decoded with one setting after another.

    Model outputs are computed only once if they fit the cache.
    """

    def __init__(self, config: ConfigDict, restored: Restored, examples: int, stop: Stop | None = None):
        """Prepares the split.

        Args:
          config: the complete config.
          restored: from restore.restore.
          examples: the maximum number of examples.
          stop: ends every pass over the split early.
        """
        self._source = create_source(config, "validation")
        self._batch_size, self._examples, self._stop = config.evaluate.batch_size, examples, stop
        self._devices, self._variables = restored.devices, restored.variables
        self._arrays = self._devices.replicate(self._source.arrays)
        step = PredictStep(config, restored.model)

        def run_model(variables: Any, arrays: Any, host_batch: Any) -> tuple[Batch, Outputs]:
            batch, outputs, _ = step.make_and_predict(variables, arrays, host_batch, self._source)
            return batch.replace(image=batch.image[:, :0]), outputs  # images are not needed from here on

        self._run_model = self._devices.jit(run_model)
        self._objective_sums = self._devices.jit(
            partial(objective_sums, decoding_options.decode_options(config, self._source.spec))
        )
        shapes = jax.eval_shape(run_model, self._variables, self._arrays, self._source.spec.host_batch(1))
        bytes_per_example = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(shapes))
        self._cache: list[tuple[Batch, Outputs]] | None = None
        self._fits_cache = bytes_per_example * self._source.count(examples) <= _MAX_CACHED_BYTES

    def loss(self, settings: Settings) -> float:
        """Returns the mean loss of the examples' numbers, in nats."""
        sums = self._sums(settings)
        return float(sums.loss) / int(sums.count)

    def digit_loss(self, settings: Settings) -> float:
        """Returns the mean loss of the predicted digits, in nats."""
        sums = self._sums(settings)
        return float(sums.digit_loss) / max(int(sums.digit_count), 1)

    def metrics(self, settings: Settings) -> dict[str, Any]:
        """Returns metrics with the names and meanings of eval_metrics.EvalMetrics.compute."""
        sums = self._sums(settings)
        return {
            "examples": int(sums.count),
            "sequence_accuracy": int(sums.exact_match) / int(sums.count),
            "negative_log_likelihood": float(sums.loss) / int(sums.count),
            "calibration_error": sums.numbers.calibration_error(),
            "digit_calibration_error": sums.digits.calibration_error(),
            "coverage_at_98": sums.numbers.coverage(0.98),
            "reliability": {"numbers": sums.numbers.reliability(), "digits": sums.digits.reliability()},
        }

    def _sums(self, settings: Settings) -> ObjectiveSums:
        traced = Settings(*map(jnp.float32, settings))
        parts = []
        for batch_and_outputs in self._batches():
            if self._stop is not None and self._stop.is_set():
                raise Stopped
            parts.append(jax.device_get(self._objective_sums(*batch_and_outputs, traced)))
        return jax.tree.map(lambda *x: np.sum(x, axis=0), *parts)

    def _batches(self) -> Iterator[tuple[Batch, Outputs]]:
        """Yields each batch with the outputs of the model."""
        if self._cache is not None:
            yield from self._cache
            return
        cache = []
        for host_batch in self._source.all(self._batch_size, self._examples):
            batch_and_outputs = self._run_model(self._variables, self._arrays, self._devices.shard_batch(host_batch))
            if self._fits_cache:
                cache.append(batch_and_outputs)
            yield batch_and_outputs
        if self._fits_cache:
            self._cache = cache
