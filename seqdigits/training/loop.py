"""The training loop: batches, logs, evaluations, checkpoints, and going on where a run was stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from seqdigits.checkpoint import warm_start
from seqdigits.checkpoint.layout import all_steps, folder
from seqdigits.checkpoint.load import load, origin
from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.config.defaults import LESS_IS_BETTER, changes, to_json
from seqdigits.config_checks.validate import validate
from seqdigits.core import params, provenance
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import Clock
from seqdigits.core.types import Variables
from seqdigits.data.create import create
from seqdigits.data.image_size import as_read, trains_as_read
from seqdigits.data.photos.crop import KINDS
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.evaluation.table import table
from seqdigits.metrics import averages
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.training import input_stats
from seqdigits.training.train_step import Steps, TrainState
from seqdigits.training.writers import Writers


def train_and_evaluate(config: ConfigDict, workdir: str | Path, stop: Stop | None = None) -> TrainState:
    """Trains, or goes on training, to `train.steps`; then evaluates `evaluate.splits`.

    Args:
      config: whole, as from a file in configs/.
      workdir: where everything about the run is kept; the same config and workdir go on where they stopped.
      stop: when it is set, the run saves and raises Stopped.

    Returns:
      The last state.

    Raises:
      UserError: what a person can mend: the config, the workdir, damaged files, a loss that is not finite.
      Stopped: see `stop`.
    """
    validate(config)
    workdir = Path(workdir)
    with _claim(config, workdir):
        return _Run(config, workdir, stop or Stop()).go()


class _Run:
    """One run: everything that lives as long as it does."""

    def __init__(self, config: ConfigDict, workdir: Path, stop: Stop):
        self.config, self.workdir, self.stop = config, workdir, stop
        self.devices = Devices(config.parallel)
        for split in ("validation", *config.evaluate.splits):
            create(config, split)  # refuses what has no examples now, not at the end of the training
        self.source = create(config, "train")
        axis = self.devices.axis
        self.steps = Steps(config, build(config, self.source.spec, axis), axis)
        self.shapes = jax.eval_shape(partial(self.steps.init, self.source))  # refuses bad patterns before data is read
        begins = bool(config.init.path) and not all_steps(folder(workdir))
        self.begin_with, self.begun_with = None, None
        if begins:
            self.begin_with, meta = load(Path(config.init.path))
            self.begun_with = {"path": config.init.path, **origin(meta)}
        self.arrays = self.devices.replicate(self.source.arrays)
        self.validation = self._evaluator("validation")
        self.train_call = self.devices.step(
            partial(self.steps.train, source=self.source), donate=0, stacked=config.train.steps_per_call > 1
        )
        self.best: dict[str, Any] | None = None
        self.evaluation_due = False
        self.seconds = 0.0

    def go(self) -> TrainState:
        self.checkpoints = Checkpoints(self.workdir, self.config.train.keep_checkpoints)
        state = self._restore_or_init()
        step = int(state.step)
        self.writers = Writers(self.workdir, step, again="validation" if self.evaluation_due else None)
        if step < self.config.train.steps:
            provenance.record(self.workdir, step)
        try:
            print(self._headline(state), flush=True)
            state = self._train(state, step)
        finally:
            self.checkpoints.close()
            self.writers.close()
        self._final_evaluation(state)
        return state

    # --- the loop -------------------------------------------------------------------------------------------------

    def _train(self, state: TrainState, step: int) -> TrainState:
        every, per_call = self.config.train, self.config.train.steps_per_call
        batches = self.source.batches(step, every.batch_size)
        clock = Clock(self.seconds, every.steps, every.batch_size)
        if self.evaluation_due:
            self._evaluate(state, step)
            if self.evaluation_due:
                raise Stopped
            self.checkpoints.amend(step, self._meta(step, self.seconds))
        host = self._next(batches)
        saved = step
        while step < every.steps:
            state = self.train_call(state, self.arrays, host)
            host = self._next(batches)  # made while the devices work
            jax.block_until_ready(state.step)
            step += per_call
            if clock.first is None:
                clock.start(step)
                print(f"first step after {clock.seconds() - self.seconds:.1f} s", flush=True)
            self.checkpoints.poll()
            if step % every.log_every == 0 or step == every.steps:
                state = self._log(state, step, clock)
            best = self.best
            if step % self.config.evaluate.every == 0 or step == every.steps:
                self._evaluate(state, step)
                clock.restart(step)
            stopping = self.stop.is_set()
            if step % every.checkpoint_every == 0 or step == every.steps or stopping or self.best != best:
                self._save(state, step, clock.seconds())
                saved = step
            if stopping:
                self.checkpoints.wait()
                print(f"saved step {saved:,} of {every.steps:,}; the same command goes on from here.", flush=True)
                raise Stopped
        return state

    def _next(self, batches: Any) -> dict[str, jax.Array]:
        per_call = self.config.train.steps_per_call
        if per_call == 1:
            return self.devices.split(next(batches))
        hosts = [next(batches) for _ in range(per_call)]
        stacked = {name: np.stack([host[name] for host in hosts]) for name in hosts[0]}
        return self.devices.split(stacked, stacked=True)

    def _log(self, state: TrainState, step: int, clock: Clock) -> TrainState:
        sums, first = jax.device_get((state.sums, state.first_nonfinite))
        self._refuse_nonfinite(int(first))
        values = averages.compute(sums)
        values["seconds"] = clock.seconds()
        rate = clock.rate(step)
        if rate is not None:
            values["images_per_second"] = rate
        self.writers.write(step, "train", values)
        print(clock.line(step, values), flush=True)
        return state.replace(sums=self.devices.replicate(jax.tree.map(np.zeros_like, sums)))

    def _evaluate(self, state: TrainState, step: int) -> None:
        """Evaluates on validation; what stops it leaves it due, for the run that goes on."""
        self._refuse_nonfinite(int(state.first_nonfinite))
        self.evaluation_due = True
        limit = self.config.evaluate.examples or None
        try:
            figures = self.validation.figures(state.variables(), limit, "validation", self.stop)
        except Stopped:
            return
        self.evaluation_due = False
        self.writers.write(step, "validation", figures)
        self.writers.picture(step, "validation/pictures", self.validation.sheet(state.variables()))
        self.writers.flush()
        name = self.config.train.best_metric
        sign = -1 if name in LESS_IS_BETTER else 1
        is_best = self.best is None or sign * figures[name] >= sign * self.best["value"]  # of two alike the later one
        if is_best:
            self.best = {"step": step, "metric": name, "value": figures[name]}
        error = figures["localization_error"]
        place = "" if error is None else f"  localization error {error:.2f} px²"
        print(
            f"  validation  sequence accuracy {figures['sequence_accuracy']:.4f}{place}{'  best' if is_best else ''}",
            flush=True,
        )

    def _save(self, state: TrainState, step: int, seconds: float) -> None:
        self._refuse_nonfinite(int(state.first_nonfinite))
        self.checkpoints.save(step, state, self._meta(step, seconds))

    def _meta(self, step: int, seconds: float) -> dict[str, Any]:
        return {
            "step": step,
            "best": self.best,
            "evaluation_due": self.evaluation_due,
            "seconds": seconds,
            "config": json.loads(to_json(self.config)),
            "begun_with": self.begun_with,
        }

    def _refuse_nonfinite(self, first: int) -> None:
        if first >= 0:
            raise UserError(
                f"the loss or its gradient is not finite at step {first}. The checkpoints before it are in "
                f"{folder(self.workdir)}. Try a smaller optim.learning_rate, or optim.clip_norm=1, in a new --workdir."
            )

    # --- before and after -----------------------------------------------------------------------------------------

    def _restore_or_init(self) -> TrainState:
        template = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.devices.replicated), self.shapes
        )
        restored = self.checkpoints.restore(template)
        if restored is None:
            return self._begin(self.devices.jit(partial(self.steps.init, self.source))())
        state, meta = restored
        self.best, self.evaluation_due, self.seconds = meta["best"], meta["evaluation_due"], meta["seconds"]
        self.begun_with = meta.get("begun_with")
        return state

    def _begin(self, state: TrainState) -> TrainState:
        """The state before step 0, whole: with what another run learned, and with the statistics of the images."""
        known: Variables = {}
        if self.begin_with is not None:
            mine = {name: getattr(state, name) for name in ("params", "batch_stats", "input_stats")}
            begun = warm_start.begin(mine, self.begin_with, self.config.init)
            known = self.devices.replicate(begun.pop("input_stats"))
            average = self.devices.replicate(begun) if state.average else {}
            state = state.replace(**self.devices.replicate(begun), average=average)
        missing = {name: part for name, part in state.input_stats.items() if name not in known}
        if missing:
            like = trains_as_read(self.config.data)
            source = self.source if like else create(as_read(self.config), "train")
            arrays = self.arrays if like else self.devices.replicate(source.arrays)
            known |= input_stats.measure(self.config, source, arrays, self.devices, missing)
        return state.replace(input_stats=known)

    def _headline(self, state: TrainState) -> str:
        spec, steps, size = self.source.spec, self.config.train.steps, self.config.train.batch_size
        examples = "endless" if spec.num_examples is None else f"{spec.num_examples:,}"
        step = int(state.step)
        lengths = (
            f"{spec.min_length} to {spec.max_length}" if spec.min_length < spec.max_length else f"{spec.max_length}"
        )
        data = self.config.data
        photographs = data.folder if data.photographs == "own" else data.photographs
        what = f"digit(s) of {photographs}" if data.composition in KINDS else f"{data.digits} digit(s)"
        todo = f"{steps:,} steps of {size} on {self.devices.count} {jax.default_backend()} device(s)"
        start = f"going on from step {step:,}" if step else "starting"
        plan = f"all {step:,} steps are done" if step >= steps else f"{start}, {todo}; compiling the first step"
        return (
            f"{self.config.model.name}, {params.count(state.params):,} parameters; {examples} images of "
            f"{spec.image[0]}x{spec.image[1]} with {lengths} {what}\n"
            f"{plan}"
        )

    def _evaluator(self, split: str) -> Evaluator:
        is_trained_on = split == "train" and trains_as_read(self.config.data)
        source = self.source if is_trained_on else create(as_read(self.config), split)
        return Evaluator(self.steps, source, self.devices, self.arrays if is_trained_on else None)

    def _final_evaluation(self, state: TrainState) -> None:
        reports = {}
        for split in self.config.evaluate.splits:
            evaluator = self.validation if split == "validation" else self._evaluator(split)
            about = {"step": int(state.step), "checkpoint": "latest"}
            reports[split] = evaluator.report(self.workdir, split, state.variables(), about, self.stop)
        if reports:
            print(f"\nstep {int(state.step):,}\n{table(reports)}", flush=True)


@contextlib.contextmanager
def _claim(config: ConfigDict, workdir: Path) -> Iterator[None]:
    """Makes the workdir this run's, and nobody else's meanwhile; checks that what lies there may go on.

    Raises:
      UserError: it cannot be written, is in use, or belongs to a run with another identity.
    """
    make_folder(workdir)
    with (workdir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"--workdir {workdir} is in use by another run. Wait for it, or name another.") from None
        path = workdir / "config.json"
        steps = all_steps(folder(workdir))
        if steps:
            try:
                saved = (
                    json.loads(path.read_text()) if path.exists() else _saved_config(folder(workdir) / str(steps[-1]))
                )
                different = changes(config, saved)
            except (ValueError, AttributeError) as e:
                raise UserError(f"{path} is damaged ({e}). Delete it to go on from the checkpoints beside it.") from e
            if different:
                raise UserError(
                    f"{workdir} holds a run that differs in what may not change when it goes on:\n  "
                    + "\n  ".join(different)
                    + "\nTake those back, or start a new run with another --workdir."
                )
        write_atomically(path, to_json(config))
        yield


def _saved_config(checkpoint: Path) -> dict[str, Any]:
    """The config that a checkpoint was saved with; of one without its manifest nothing is known, and it is not gone on from."""
    try:
        return read_meta(checkpoint)["config"]
    except (OSError, ValueError, KeyError):
        return {}
