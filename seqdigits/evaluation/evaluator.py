"""Exact evaluation of a split, which counts every example once; used by training and by `evaluate`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import duration
from seqdigits.core.types import Batch, Prediction, Variables
from seqdigits.data.source import DataSource, example_limit
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import averages, eval_metrics
from seqdigits.parallel.devices import Devices
from seqdigits.parallel.processes import agree_to_stop, is_main
from seqdigits.visualization import predictions


class Evaluator:
    """Evaluates one split any number of times; the step is compiled once."""

    def __init__(
        self, step: PredictStep, source: DataSource, devices: Devices, arrays: dict[str, jax.Array] | None = None
    ):
        """Places the arrays of the source on the devices.

        Args:
          step: predicts and counts a batch.
          source: the split.
          devices: the devices to run on.
          arrays: the arrays of the source if they are on the devices already; None = place them.
        """
        self._step = step
        self._source = source
        self._devices = devices
        self._arrays = devices.replicate(source.arrays) if arrays is None else arrays
        self._accumulate = devices.compile_step(partial(self._add, step, source))
        self._predict = devices.jit(partial(step.make_and_predict, source=source))
        self._shapes: Any = None

    def evaluate(self, variables: Variables, limit: int | None, label: str, stop: Stop | None = None) -> dict[str, Any]:
        """Returns all metrics over the first `limit` examples.

        Args:
          variables: the collections of the model.
          limit: the number of examples; None = all.
          label: a name for the progress line, which is printed every 10 seconds.
          stop: ends the evaluation early.

        Raises:
          Stopped: `stop` was set before the end.
        """
        total, done, start = self._source.count(limit), 0, time.monotonic()
        last_print = start
        totals = self._zero(variables)
        for host_batch in self._host_batches(limit):
            if stop is not None and agree_to_stop(stop):
                raise Stopped
            totals = self._accumulate(totals, variables, self._arrays, host_batch)
            jax.block_until_ready(totals)
            done = min(done + self._batch_size, total)
            now = time.monotonic()
            if now - last_print > 10 and done < total:
                rate = done / (now - start)
                print(
                    f"  {label}: {done:,} of {total:,}, {rate:,.0f} images/s, {duration((total - done) / rate)} left",
                    flush=True,
                )
                last_print = now
        outputs = self._shapes[1]
        metrics = eval_metrics.summarize(
            jax.device_get(totals), localizes=outputs.box is not None, has_logits=outputs.digit_logits is not None
        )
        if metrics["examples"] != total:
            raise AssertionError(f"evaluation counted {metrics['examples']} of {total} examples")
        return metrics

    def example_grid(self, variables: Variables) -> Image.Image:
        """Returns an image of correct and wrong predictions among the first 400 examples."""
        return predictions.make_example_grid(*self._first_examples(variables))

    def _first_examples(self, variables: Variables) -> tuple[Batch, Prediction]:
        """Returns the first 400 examples and their predictions, as numpy arrays."""
        rows: list[tuple[Batch, Prediction]] = []
        for host_batch in self._host_batches(min(400, self._source.spec.num_examples or 400)):
            batch, _, prediction = self._predict(variables, self._arrays, host_batch)
            rows.append(jax.device_get((batch, prediction)))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *rows)

    def report(
        self, workdir: Path, split: str, variables: Variables, metadata: dict[str, Any], stop: Stop | None = None
    ) -> dict[str, Any]:
        """Evaluates a split and writes `W/evaluation/SPLIT.json`, `SPLIT.png` and `SPLIT_first.png`.

        Validation and test are evaluated completely; train on at most its first 10,000 examples. SPLIT.png seeks errors,
        SPLIT_first.png has the first examples.

        Args:
          workdir: the folder of the run.
          split: the name of the source's split.
          variables: the collections of the model.
          metadata: further entries of the report, as JSON.
          stop: see evaluate.

        Returns:
          The metrics.

        Raises:
          UserError: the workdir is not writable.
          Stopped: see evaluate.
        """
        folder = workdir / "evaluation"
        if is_main():
            make_folder(folder)
        metrics = self.evaluate(variables, example_limit(self._source, split), split, stop)
        examples = self._first_examples(variables)
        if is_main():
            write_atomically(folder / f"{split}.json", json.dumps({"split": split, **metadata, **metrics}, indent=1))
            for name, seeks_errors in ((split, True), (f"{split}_first", False)):
                grid = predictions.make_example_grid(*examples, seeks_errors=seeks_errors)
                write_atomically(folder / f"{name}.png", predictions.png(grid))
        return metrics

    @property
    def _batch_size(self) -> int:
        return self._step.config.evaluate.batch_size

    def _host_batches(self, limit: int | None) -> Iterator[dict[str, jax.Array]]:
        return (self._devices.shard_batch(host_batch) for host_batch in self._source.all(self._batch_size, limit))

    def _zero(self, variables: Variables) -> eval_metrics.EvalMetrics:
        if self._shapes is None:
            predict = partial(self._step.make_and_predict, source=self._source)
            self._shapes = jax.eval_shape(predict, variables, self._arrays, self._source.spec.host_batch(1))
        shapes = jax.eval_shape(eval_metrics.batch_metrics, *self._shapes)
        return self._devices.replicate(averages.zeros_like(shapes))

    @staticmethod
    def _add(
        step: PredictStep,
        source: DataSource,
        totals: eval_metrics.EvalMetrics,
        variables: Variables,
        arrays: Any,
        host_batch: Any,
    ) -> eval_metrics.EvalMetrics:
        return totals.merge(step.count(variables, arrays, host_batch, source))
