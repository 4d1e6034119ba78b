"""Exact evaluation of a split, every example once; during training, at its end, and of a saved checkpoint alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from seqdigits import checkpoint, metrics, params, pictures, pretrained, transfer
from seqdigits.batch import Batch, Reading, Variables
from seqdigits.clock import duration
from seqdigits.config import changes
from seqdigits.data import sources
from seqdigits.data.digits import SPLITS
from seqdigits.data.sources import limit_of
from seqdigits.errors import UserError
from seqdigits.interrupt import Stop, Stopped
from seqdigits.models.build import build, init_variables
from seqdigits.parallel import Devices
from seqdigits.steps import Steps
from seqdigits.validation import validate
from seqdigits.writers import make_folder, write_atomically


class Evaluator:
    """Evaluates one split, again and again, compiled once."""

    def __init__(
        self, steps: Steps, source: sources.Source, devices: Devices, arrays: dict[str, jax.Array] | None = None
    ):
        """`arrays`: the source's, if they are on the devices already."""
        self._steps = steps
        self._source = source
        self._devices = devices
        self._arrays = devices.replicate(source.arrays) if arrays is None else arrays
        self._count = devices.step(partial(self._add, steps, source))
        self._read = devices.jit(partial(steps.read, source=source))
        self._shapes: Any = None

    def figures(self, variables: Variables, limit: int | None, label: str, stop: Stop | None = None) -> dict[str, Any]:
        """All figures over the first `limit` examples (None = all).

        `label` stands in the progress line of what takes long.

        Raises:
          Stopped: `stop` was set before the end.
        """
        total, done, began = self._source.count(limit), 0, time.monotonic()
        said = began
        counted = self._zero(variables)
        for host in self._hosts(limit):
            if stop is not None and stop.is_set():
                raise Stopped
            counted = self._count(counted, variables, self._arrays, host)
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
        figures = metrics.summarize(
            jax.device_get(counted), localizes=outputs.box is not None, has_logits=outputs.digit_logits is not None
        )
        if figures["examples"] != total:
            raise AssertionError(f"evaluation counted {figures['examples']} of {total} examples")
        return figures

    def sheet(self, variables: Variables) -> Image.Image:
        """Right and wrong examples, out of the first few hundred."""
        rows: list[tuple[Batch, Reading]] = []
        for host in self._hosts(min(400, self._source.spec.num_examples or 400)):
            batch, _, reading = self._read(variables, self._arrays, host)
            rows.append(jax.device_get((batch, reading)))
        batch, reading = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
        return pictures.sheet(batch, reading)

    def report(
        self, workdir: Path, split: str, variables: Variables, about: dict[str, Any], stop: Stop | None = None
    ) -> dict[str, Any]:
        """Evaluates a whole split (of train the first 10,000) and writes `W/evaluation/SPLIT.json` and `SPLIT.png`.

        Args:
          workdir: where to.
          split: the source's.
          variables: what to evaluate.
          about: what else the report says.
          stop: see figures.

        Returns:
          The figures.

        Raises:
          UserError: the workdir cannot be written.
          Stopped: see figures.
        """
        where = workdir / "evaluation"
        make_folder(where)
        figures = self.figures(variables, limit_of(self._source, split), split, stop)
        write_atomically(where / f"{split}.json", json.dumps({"split": split, **about, **figures}, indent=1))
        write_atomically(where / f"{split}.png", pictures.png(self.sheet(variables)))
        return figures

    @property
    def _batch_size(self) -> int:
        return self._steps.config.evaluate.batch_size

    def _hosts(self, limit: int | None) -> Iterator[dict[str, jax.Array]]:
        return (self._devices.split(host) for host in self._source.all(self._batch_size, limit))

    def _zero(self, variables: Variables) -> metrics.Tally:
        if self._shapes is None:
            read = partial(self._steps.read, source=self._source)
            self._shapes = jax.eval_shape(read, variables, self._arrays, self._source.spec.host(1))
        shapes = jax.eval_shape(metrics.tally, *self._shapes)
        return self._devices.replicate(metrics.zeros_like(shapes))

    @staticmethod
    def _add(
        steps: Steps, source: sources.Source, counted: metrics.Tally, variables: Variables, arrays: Any, host: Any
    ) -> metrics.Tally:
        return counted.merge(steps.evaluate(variables, arrays, host, source))


def table(reports: dict[str, dict[str, Any]]) -> str:
    """The figures of several splits side by side, as text."""
    rows = (
        ("examples", "{:,}"),
        ("sequence_accuracy", "{:.4f}"),
        ("character_accuracy", "{:.4f}"),
        ("digit_accuracy", "{:.4f}"),
        ("length_accuracy", "{:.4f}"),
        ("number_recall", "{:.4f}"),
        ("number_precision", "{:.4f}"),
        ("localization_error", "{:.2f} px²"),
        ("centre_error", "{:.2f} px"),
        ("iou", "{:.4f}"),
        ("cross_entropy", "{:.4f}"),
        ("calibration_error", "{:.4f}"),
        ("coverage_at_98", "{:.4f}"),
    )
    lines = [" " * 20 + "".join(f"{split:>14}" for split in reports)]
    for name, form in rows:
        values = [figures.get(name) for figures in reports.values()]  # an old report has not all
        if any(v is not None for v in values):
            cells = ("-" if v is None else form.format(v) for v in values)
            lines.append(f"{name:<20}" + "".join(f"{cell:>14}" for cell in cells))
    lengths = sorted({n for figures in reports.values() for n in figures["accuracy_by_length"]}, key=int)
    if len(lengths) > 1:
        for n in lengths:
            cells = (figures["accuracy_by_length"].get(n) for figures in reports.values())
            name = f"  of {n} digit{'s' if n != '1' else ''}"
            lines.append(f"{name:<20}" + "".join("-".rjust(14) if c is None else f"{c:14.4f}" for c in cells))
    return "\n".join(lines)


class Restored(NamedTuple):
    """A model with what a checkpoint holds.

    Attributes:
      path, step: of the checkpoint.
      different: where the config differs from that of the run, in data and reading.
      model, devices: of the config.
      variables: on the devices.
    """

    path: Path
    step: int
    different: list[str]
    model: nn.Module
    devices: Devices
    variables: Variables


def restore(config: ConfigDict, workdir: Path, which: str, split: str) -> Restored:
    """Restores a checkpoint, and says which, and what is otherwise than in training.

    Args:
      config: validated, with the model of the run; its data may be others than it was trained on.
      workdir: of the run.
      which: latest, best, a step, a path W/checkpoints/STEP, a file of weights (.npz), or the name of weights that come with
        the package, where nothing of that name lies in the working directory.
      split: one that there is: photographs of your own may all be in one.

    Raises:
      UserError: no such checkpoint, damaged, or of another model.
    """
    shipped = pretrained.find(which)
    path = shipped or (Path(which) if which.endswith(".npz") else checkpoint.find(workdir, which))
    found, meta = transfer.load(path)
    other_model = changes(config, meta["config"], ("model",))
    if config.model.name == "reader":  # how its cells are read hangs on this
        other_model += [line for line in changes(config, meta["config"], ("loss",)) if line.startswith("loss.target:")]
    if other_model:
        raise UserError(f"{path} is of another model:\n  " + "\n  ".join(other_model) + "\nTake those back.")
    different = changes(config, meta["config"], ("data", "read"))
    spec = sources.create(config, split).spec
    model = build(config, spec)
    _check(found, jax.eval_shape(lambda: init_variables(model, spec, config.seed)), path)
    devices = Devices(config.parallel)
    placed = devices.replicate(found)
    print(f"evaluating {path}, step {meta['step']:,}", flush=True)
    if different:
        print("otherwise than in training:\n  " + "\n  ".join(different), flush=True)
    return Restored(path, meta["step"], different, model, devices, placed)


def evaluate_checkpoint(
    config: ConfigDict, workdir: Path, *, which: str, splits: tuple[str, ...], stop: Stop | None = None
) -> dict[str, dict[str, Any]]:
    """Restores a checkpoint, evaluates whole splits, prints a table and writes the reports.

    Args:
      config: see restore.
      workdir: of the run.
      which: see restore.
      splits: which to evaluate; () = those of the config.
      stop: ends it early.

    Returns:
      The figures by split.

    Raises:
      UserError: no such checkpoint, damaged, or of another model.
    """
    validate(config)
    splits = splits or tuple(config.evaluate.splits)
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"--split {split}: allowed are {', '.join(SPLITS)}.")
    restored = restore(config, workdir, which, (*splits, "test")[0])
    devices, steps = restored.devices, Steps(config, restored.model, restored.devices.axis)
    about = {"step": restored.step, "checkpoint": which, "otherwise_than_in_training": restored.different}
    reports = {}
    for split in splits:
        evaluator = Evaluator(steps, sources.create(sources.as_read(config), split), devices)
        reports[split] = evaluator.report(workdir, split, restored.variables, about, stop)
    print(table(reports))
    return reports


def _check(found: Variables, template: Variables, path: Path) -> None:
    """Refuses variables that are not of the model's shapes."""
    expected, has = params.shapes(template), params.shapes(found)
    for name in sorted(expected.keys() | has.keys()):
        if expected.get(name) != has.get(name):
            raise UserError(
                f"{path} is of another model: {name} is {has.get(name, 'missing')} there and "
                f"{expected.get(name, 'not there')} in this config. Use the config that it was trained with."
            )
