"""Exact evaluation of a split, which counts every example once; used by training and by `evaluate`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import duration
from seqdigits.core.types import Batch, HostBatch, Prediction, Variables
from seqdigits.data.source import DataSource, example_limit
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import averages, eval_metrics
from seqdigits.parallel.devices import Devices
from seqdigits.parallel.processes import agree_to_stop, is_main, process_slice
from seqdigits.visualization import predictions

EXAMPLES = 100
"""Number of right examples of an evaluation that are kept for a picture, and of wrong ones."""


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
        self.source = source
        self._devices = devices
        self.arrays = devices.replicate(source.arrays) if arrays is None else arrays
        self._accumulate = devices.compile_step(partial(self._add, step, source))
        self._predict = devices.jit(partial(step.make_and_predict, source=source))
        self._shapes: Any = None
        self._rows: dict[bool, list[HostBatch]] = {}
        self._padding: HostBatch = {}

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
        total, done, start = self.source.count(limit), 0, time.monotonic()
        last_print = start
        totals = self._zero(variables)
        self._rows = {True: [], False: []}
        for host_batch in self.source.all(self._batch_size, limit):
            if stop is not None and agree_to_stop(stop):
                raise Stopped
            placed = self._devices.shard_batch(host_batch)
            totals, exact_match = self._accumulate(totals, variables, self.arrays, placed)
            self._keep_rows(host_batch, np.asarray(exact_match))
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

    def example_sheets(self, variables: Variables) -> dict[str, Image.Image]:
        """Returns images of the first right and the first wrong examples of the last evaluation, EXAMPLES of each at most.

        Every process must call this. An image is left out where there is no such example.

        Args:
          variables: those of that evaluation.
        """
        sheets = {}
        for name, is_right in (("right", True), ("wrong", False)):
            batch, prediction = self.examples(variables, is_right=is_right)
            if (batch.index >= 0).any():
                sheets[name] = predictions.make_example_sheet(batch, prediction, is_right=is_right)
        return sheets

    def examples(self, variables: Variables, *, is_right: bool) -> tuple[Batch, Prediction]:
        """Returns the first right or wrong examples of the last evaluation, at least one row, with padding.

        Every process must call this, and gets those of all.

        Args:
          variables: those of that evaluation.
          is_right: which ones.
        """
        return self._predict_all(variables, self._padded(self._rows[is_right]))

    def _keep_rows(self, host_batch: HostBatch, exact_match: np.ndarray) -> None:
        """Keeps the first right and wrong rows of this process.

        Args:
          host_batch: the rows of this process.
          exact_match: bool [B], of the batch of all processes, each with its padding.
        """
        self._padding = self._padding or {name: np.array(value[:1]) for name, value in host_batch.items()}
        own = exact_match.reshape(jax.process_count(), -1)[jax.process_index()]
        for row in range(len(host_batch["index"])):
            kept = self._rows[bool(own[row])]
            if host_batch["index"][row] >= 0 and len(kept) < _share():
                kept.append({name: np.array(value[row]) for name, value in host_batch.items()})

    def _padded(self, rows: list[HostBatch]) -> Iterator[HostBatch]:
        """Yields as many batches in every process, with the given rows and padding."""
        size = process_slice(self._batch_size).size
        for start in range(0, _share(), size):
            batch = {name: np.repeat(value, size, axis=0) for name, value in self._padding.items()}
            batch["index"][:] = -1
            for i, row in enumerate(rows[start : start + size]):
                for name, value in row.items():
                    batch[name][i] = value
            yield batch

    def _first_examples(self, variables: Variables) -> tuple[Batch, Prediction]:
        """Returns the first 400 examples and their predictions, as numpy arrays."""
        return self._predict_all(
            variables, self.source.all(self._batch_size, min(400, self.source.spec.num_examples or 400))
        )

    def _predict_all(self, variables: Variables, batches: Iterable[HostBatch]) -> tuple[Batch, Prediction]:
        """Returns the examples of some batches and their predictions, as numpy arrays."""
        rows: list[tuple[Batch, Prediction]] = []
        for host_batch in batches:
            batch, _, prediction = self._predict(variables, self.arrays, self._devices.shard_batch(host_batch))
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
        metrics = self.evaluate(variables, example_limit(self.source, split), split, stop)
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

    def _zero(self, variables: Variables) -> eval_metrics.EvalMetrics:
        if self._shapes is None:
            predict = partial(self._step.make_and_predict, source=self.source)
            self._shapes = jax.eval_shape(predict, variables, self.arrays, self.source.spec.host_batch(1))
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
    ) -> tuple[eval_metrics.EvalMetrics, jax.Array]:
        counts, exact_match = step.count(variables, arrays, host_batch, source)
        return totals.merge(counts), exact_match


def _share() -> int:
    """Returns the number of right examples that each process keeps, and of wrong ones."""
    return -(-EXAMPLES // jax.process_count())
