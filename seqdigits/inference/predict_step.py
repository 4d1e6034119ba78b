"""The predict step, shared by evaluation and inference: makes a batch, applies the model, decodes its outputs."""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Batch, Outputs, Prediction, Spec, Variables
from seqdigits.data.source import DataSource
from seqdigits.decoding.decode import candidate_boxes, decode
from seqdigits.decoding.options import decode_options
from seqdigits.metrics import eval_metrics
from seqdigits.metrics.matching import match_predictions
from seqdigits.models.stack import Base


@dataclass(frozen=True)
class PredictStep:
    """The predict step of one model, pure and traceable.

    Attributes:
      config: the whole config.
      model: from models.build. If it has an axis, each device runs `count` on its own shard of the batch (pmap); else the step
        receives the whole batch.
    """

    config: ConfigDict
    model: Base

    def predict(self, variables: Variables, batch: Batch, spec: Spec) -> tuple[Outputs, Prediction]:
        """Applies the model to a batch and decodes its outputs."""
        options = decode_options(self.config, spec)
        outputs = self.model.apply(variables, batch.image, train=False, mask=batch.mask)
        if self.config.model.second_look:
            boxes = candidate_boxes(outputs, options)
            second = self.model.apply(variables, batch.image, train=False, mask=batch.mask, boxes=boxes)
            outputs = outputs.replace(tile_logits=second.tile_logits)
        return outputs, decode(outputs, options)

    def make_and_predict(
        self, variables: Variables, arrays: dict[str, Array], host_batch: dict[str, Array], source: DataSource
    ) -> tuple[Batch, Outputs, Prediction]:
        """Makes one batch without augmentation, and predicts it."""
        batch = source.make(arrays, host_batch, stream_key(self.config.seed, RngStream.AUGMENT), train=False)
        return batch, *self.predict(variables, batch, source.spec)

    def count(
        self, variables: Variables, arrays: dict[str, Array], host_batch: dict[str, Array], source: DataSource
    ) -> tuple[eval_metrics.EvalMetrics, Array]:
        """Makes and predicts one batch.

        Returns:
          Its evaluation counts, summed over all devices; and which rows are exact matches, bool [B], of all devices.
        """
        batch, outputs, prediction = self.make_and_predict(variables, arrays, host_batch, source)
        counts = eval_metrics.batch_metrics(batch, outputs, prediction)
        exact_match = match_predictions(batch, prediction).exact_match
        if self.model.axis:
            counts = jax.lax.psum(counts, self.model.axis)
            exact_match = jax.lax.all_gather(exact_match, self.model.axis, tiled=True)
        return counts, exact_match
