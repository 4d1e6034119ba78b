"""The training loop: batches, logs, evaluations, checkpoints, and resuming where a run was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from seqdigits.checkpoint.layout import checkpoints_folder
from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.config.defaults import LOWER_IS_BETTER
from seqdigits.config_checks.validate import validate
from seqdigits.core import params, provenance
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import Clock
from seqdigits.core.types import HostBatch
from seqdigits.data.create import create_source
from seqdigits.data.image_size import as_evaluated, trains_as_evaluated
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.source import DataSource
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.evaluation.table import report_table
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import averages
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.training.initial_state import Progress, initial_variables, initialize, restore
from seqdigits.training.train_step import TrainState, TrainStep
from seqdigits.training.workdir import claim
from seqdigits.training.writers import Writers


def train_and_evaluate(config: ConfigDict, workdir: str | Path, stop: Stop | None = None) -> TrainState:
    """Trains, or resumes training, to `train.steps`; then evaluates `evaluate.splits`.

    Args:
      config: whole, as from a file in configs/.
      workdir: where everything about the run is kept; the same config and workdir resume where they stopped.
      stop: when it is set, the run saves and raises Stopped.

    Returns:
      The last state.

    Raises:
      UserError: the config, the workdir, damaged files, a loss that is not finite.
      Stopped: see `stop`.
    """
    validate(config)
    workdir = Path(workdir)
    with claim(config, workdir):
        return _train_and_evaluate(config, workdir, stop or Stop())


def _train_and_evaluate(config: ConfigDict, workdir: Path, stop: Stop) -> TrainState:
    """As train_and_evaluate, in a workdir that is this run's. Long, so that it reads from top to bottom."""
    # Data and model. What cannot work is refused here, before data is read.
    devices = Devices(config.parallel)
    for split in ("validation", *config.evaluate.splits):
        create_source(config, split)
    source = create_source(config, "train")
    model = build(config, source.spec, devices.axis)
    train_step = TrainStep(config, model, devices.axis)
    shapes = jax.eval_shape(partial(train_step.init, source))
    initial, initialized_from = initial_variables(config, workdir)
    arrays = devices.replicate(source.arrays)

    # Compiled functions. A call of several steps is a program of its own for each number of steps.
    one = devices.compile_step(partial(train_step.train, source=source), donate=0)
    several = devices.compile_step(partial(train_step.train, source=source), donate=0, stacked=True)
    predict_step = PredictStep(config, model, devices.axis)

    def evaluator(split: str) -> Evaluator:
        is_trained_on = split == "train" and trains_as_evaluated(config.data)
        evaluated = source if is_trained_on else create_source(as_evaluated(config), split)
        return Evaluator(predict_step, evaluated, devices, arrays if is_trained_on else None)

    validation = evaluator("validation")

    # State: restored from the newest checkpoint, or initialized.
    checkpoints = Checkpoints(workdir, config.train.keep_checkpoints)
    restored = restore(checkpoints, shapes, devices)
    if restored is None:
        state = devices.jit(partial(train_step.init, source))()
        state = initialize(state, initial, config, source, arrays, devices)
        progress = Progress(initialized_from=initialized_from)
    else:
        state, progress = restored
    step, steps = int(state.step), config.train.steps
    writers = Writers(workdir, step, again="validation" if progress.evaluation_due else None)
    clock = Clock(progress.seconds, steps, config.train.batch_size)
    if step < steps:
        provenance.record(workdir, step, config.train.steps_per_call)

    try:
        print(_headline(config, source, state, devices), flush=True)
        if progress.evaluation_due:
            _evaluate(validation, state, step, config, progress, writers, workdir, stop)
            if progress.evaluation_due:
                raise Stopped
            checkpoints.amend(step, progress.meta(config, step, progress.seconds))
        batches = source.batches(step, config.train.batch_size)
        length = call_length(step, config)
        host_batch = next_call(batches, length, devices)
        while step < steps:
            # Train
            state = (one if length == 1 else several)(state, arrays, host_batch)
            step += length
            length = call_length(step, config)
            host_batch = next_call(batches, length, devices)  # made while the devices work
            jax.block_until_ready(state.step)
            if clock.first is None:
                clock.start(step)
                print(f"first step after {clock.seconds() - progress.seconds:.1f} s", flush=True)
            checkpoints.poll()

            # Log
            if step % config.train.log_every == 0 or step == steps:
                values = _averages(state, workdir)
                values["seconds"] = clock.seconds()
                rate = clock.rate(step)
                if rate is not None:
                    values["images_per_second"] = rate
                writers.write(step, "train", values)
                print(clock.line(step, values), flush=True)
                state = state.replace(sums=devices.replicate(jax.tree.map(np.zeros_like, jax.device_get(state.sums))))

            # Evaluate
            best = progress.best
            if step % config.evaluate.every == 0 or step == steps:
                _evaluate(validation, state, step, config, progress, writers, workdir, stop)
                clock.restart(step)

            # Save
            stopping = stop.is_set()
            if step % config.train.checkpoint_every == 0 or step == steps or stopping or progress.best != best:
                _refuse_nonfinite(int(state.first_nonfinite), workdir)
                checkpoints.save(step, state, progress.meta(config, step, clock.seconds()))
            if stopping:
                checkpoints.wait()
                print(f"saved step {step:,} of {steps:,}; the same command goes on from here.", flush=True)
                raise Stopped
    finally:
        checkpoints.close()
        writers.close()

    # Final evaluation
    reports = {}
    for split in config.evaluate.splits:
        evaluated = validation if split == "validation" else evaluator(split)
        about = {"step": int(state.step), "checkpoint": "latest"}
        reports[split] = evaluated.report(workdir, split, state.variables(), about, stop)
    if reports:
        print(f"\nstep {int(state.step):,}\n{report_table(reports)}", flush=True)
    return state


def call_length(step: int, config: ConfigDict) -> int:
    """Returns how many steps the next call takes: at most train.steps_per_call, none beyond the next boundary.

    Boundaries are the steps to log, save, evaluate, and end at. What is left before one is taken in powers of two, so that
    however the intervals lie, no more than 2 + log2(steps_per_call) programs are compiled.

    >>> from seqdigits.config import base_config
    >>> config = base_config()
    >>> config.train.update(steps=250, log_every=100, checkpoint_every=1000, steps_per_call=40)
    >>> step, lengths = 0, []
    >>> while length := call_length(step, config):
    ...     step, lengths = step + length, [*lengths, length]
    >>> lengths
    [40, 40, 16, 4, 40, 40, 16, 4, 40, 8, 2]
    """
    train = config.train
    if step >= train.steps:
        return 0
    every = (train.log_every, train.checkpoint_every, config.evaluate.every)
    left = min(train.steps - step, *(n - step % n for n in every))
    return train.steps_per_call if left >= train.steps_per_call else 1 << (left.bit_length() - 1)


def next_call(batches: Iterator[HostBatch], length: int, devices: Devices) -> dict[str, jax.Array]:
    """Places the batches of one call: [B, ...] of one step, else [S, B, ...]; nothing after the last."""
    if length == 0:
        return {}
    if length == 1:
        return devices.shard_batch(next(batches))
    host_batches = [next(batches) for _ in range(length)]
    return devices.shard_batch(
        {name: np.stack([host_batch[name] for host_batch in host_batches]) for name in host_batches[0]}, stacked=True
    )


def _averages(state: TrainState, workdir: Path) -> dict[str, float]:
    """Returns the averages since the last log."""
    sums, first = jax.device_get((state.sums, state.first_nonfinite))
    _refuse_nonfinite(int(first), workdir)
    return averages.compute(sums)


def _evaluate(
    validation: Evaluator,
    state: TrainState,
    step: int,
    config: ConfigDict,
    progress: Progress,
    writers: Writers,
    workdir: Path,
    stop: Stop,
) -> None:
    """Evaluates on validation, and keeps in `progress` what is best; where it is stopped, it stays due for the next start."""
    _refuse_nonfinite(int(state.first_nonfinite), workdir)
    progress.evaluation_due = True
    try:
        metrics = validation.evaluate(state.variables(), config.evaluate.examples or None, "validation", stop)
    except Stopped:
        return
    progress.evaluation_due = False
    writers.write(step, "validation", metrics)
    writers.picture(step, "validation/pictures", validation.example_grid(state.variables()))
    writers.flush()
    name = config.train.best_metric
    sign = -1 if name in LOWER_IS_BETTER else 1
    best = progress.best
    is_best = best is None or sign * metrics[name] >= sign * best["value"]  # of two equal ones the later
    if is_best:
        progress.best = {"step": step, "metric": name, "value": metrics[name]}
    error = metrics["localization_error"]
    place = "" if error is None else f"  localization error {error:.2f} px²"
    print(
        f"  validation  sequence accuracy {metrics['sequence_accuracy']:.4f}{place}{'  best' if is_best else ''}",
        flush=True,
    )


def _refuse_nonfinite(first: int, workdir: Path) -> None:
    if first >= 0:
        raise UserError(
            f"the loss or its gradient is not finite at step {first}. The checkpoints before it are in "
            f"{checkpoints_folder(workdir)}. Try a smaller optim.learning_rate, or optim.clip_norm=1, in a new --workdir."
        )


def _headline(config: ConfigDict, source: DataSource, state: TrainState, devices: Devices) -> str:
    spec, steps, size, step = source.spec, config.train.steps, config.train.batch_size, int(state.step)
    examples = "endless" if spec.num_examples is None else f"{spec.num_examples:,}"
    lengths = f"{spec.min_length} to {spec.max_length}" if spec.min_length < spec.max_length else f"{spec.max_length}"
    data = config.data
    photographs = data.folder if data.photographs == "folder" else data.photographs
    what = f"digit(s) of {photographs}" if data.composition in PHOTO_COMPOSITIONS else f"{data.digits} digit(s)"
    todo = f"{steps:,} steps of {size} on {devices.count} {jax.default_backend()} device(s)"
    start = f"going on from step {step:,}" if step else "starting"
    plan = f"all {step:,} steps are done" if step >= steps else f"{start}, {todo}; compiling the first step"
    return (
        f"{config.model.name}, {params.count(state.params):,} parameters; {examples} images of "
        f"{spec.image[0]}x{spec.image[1]} with {lengths} {what}\n"
        f"{plan}"
    )
