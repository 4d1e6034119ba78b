"""Exact evaluation of a split, every example once; during training, at its end, and of a saved checkpoint alone."""

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
from seqdigits.visualization import predictions


class Evaluator:
    """Evaluates one split, again and again, compiled once."""

    def __init__(
        self, step: PredictStep, source: DataSource, devices: Devices, arrays: dict[str, jax.Array] | None = None
    ):
        """`arrays`: the source's, if they are on the devices already."""
        self._step = step
        self._source = source
        self._devices = devices
        self._arrays = devices.replicate(source.arrays) if arrays is None else arrays
        self._count = devices.compile_step(partial(self._add, step, source))
        self._read = devices.jit(partial(step.make_and_predict, source=source))
        self._shapes: Any = None

    def evaluate(self, variables: Variables, limit: int | None, label: str, stop: Stop | None = None) -> dict[str, Any]:
        """All figures over the first `limit` examples (None = all).

        `label` stands in the progress line of what takes long.

        Raises:
          Stopped: `stop` was set before the end.
        """
        total, done, began = self._source.count(limit), 0, time.monotonic()
        said = began
        counted = self._zero(variables)
        for host_batch in self._hosts(limit):
            if stop is not None and stop.is_set():
                raise Stopped
            counted = self._count(counted, variables, self._arrays, host_batch)
            jax.block_until_ready(counted)
            done = min(done + self._batch_size, total)
            now = time.monotonic()
            if now - said > 10 and done < total:
                rate = done / (now - began)
                print(
                    f"  {label}: {done:,} of {total:,}, {rate:,.0f} images/s, {duration((total - done) / rate)} left",
                    flush=True,
                )
                said = now
        outputs = self._shapes[1]
        metrics = eval_metrics.summarize(
            jax.device_get(counted), localizes=outputs.box is not None, has_logits=outputs.digit_logits is not None
        )
        if metrics["examples"] != total:
            raise AssertionError(f"evaluation counted {metrics['examples']} of {total} examples")
        return metrics

    def example_grid(self, variables: Variables) -> Image.Image:
        """Right and wrong examples, out of the first few hundred."""
        rows: list[tuple[Batch, Prediction]] = []
        for host_batch in self._hosts(min(400, self._source.spec.num_examples or 400)):
            batch, _, prediction = self._read(variables, self._arrays, host_batch)
            rows.append(jax.device_get((batch, prediction)))
        batch, prediction = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
        return predictions.make_example_grid(batch, prediction)

    def report(
        self, workdir: Path, split: str, variables: Variables, about: dict[str, Any], stop: Stop | None = None
    ) -> dict[str, Any]:
        """Evaluates a whole split (of train the first 10,000) and writes `W/evaluation/SPLIT.json` and `SPLIT.png`.

        Args:
          workdir: where to.
          split: the source's.
          variables: what to evaluate.
          about: what else the report says.
          stop: see evaluate.

        Returns:
          The figures.

        Raises:
          UserError: the workdir cannot be written.
          Stopped: see evaluate.
        """
        where = workdir / "evaluation"
        make_folder(where)
        metrics = self.evaluate(variables, example_limit(self._source, split), split, stop)
        write_atomically(where / f"{split}.json", json.dumps({"split": split, **about, **metrics}, indent=1))
        write_atomically(where / f"{split}.png", predictions.png(self.example_grid(variables)))
        return metrics

    @property
    def _batch_size(self) -> int:
        return self._step.config.evaluate.batch_size

    def _hosts(self, limit: int | None) -> Iterator[dict[str, jax.Array]]:
        return (self._devices.shard_batch(host_batch) for host_batch in self._source.all(self._batch_size, limit))

    def _zero(self, variables: Variables) -> eval_metrics.EvalMetrics:
        if self._shapes is None:
            read = partial(self._step.make_and_predict, source=self._source)
            self._shapes = jax.eval_shape(read, variables, self._arrays, self._source.spec.host_batch(1))
        shapes = jax.eval_shape(eval_metrics.batch_metrics, *self._shapes)
        return self._devices.replicate(averages.zeros_like(shapes))

    @staticmethod
    def _add(
        step: PredictStep,
        source: DataSource,
        counted: eval_metrics.EvalMetrics,
        variables: Variables,
        arrays: Any,
        host_batch: Any,
    ) -> eval_metrics.EvalMetrics:
        return counted.merge(step.count(variables, arrays, host_batch, source))
