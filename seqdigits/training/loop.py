"""The training loop: batches, logs, evaluations, checkpoints, and resuming a stopped run.

Which checkpoints exist is decided in two places.

- Saving: this loop. It saves every `train.checkpoint_every` steps, at the last step, when the run is stopped, and
  whenever an evaluation finds a new best value of `train.best_metric`.
- Retention: checkpoint.manager.Checkpoints. It keeps the newest `train.keep_checkpoints`, and the step that each of
  them names as the best. This loop saves that name with each state (`best` in Progress). It deletes others only after the new one is
  sealed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.config.defaults import DEFAULTS, LOWER_IS_BETTER, RESUMABLE_KEYS, get
from seqdigits.config_checks.validate import validate
from seqdigits.core import params, provenance
from seqdigits.core.constants import SPLITS
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import Clock
from seqdigits.core.types import HostBatch
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated, trains_as_evaluated
from seqdigits.data.half_scenes import check_devices
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.source import DataSource
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.evaluation.table import report_table
from seqdigits.inference.predict_step import PredictStep
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.parallel.processes import agree_to_stop, is_main
from seqdigits.training import nonfinite
from seqdigits.training.full_disk import explain_full_disk
from seqdigits.training.initial_state import Progress, initial_variables, initialize, restore
from seqdigits.training.lock import Lock
from seqdigits.training.profile import StepProfile, check_profile
from seqdigits.training.train_step import TrainState, TrainStep
from seqdigits.training.workdir import claim
from seqdigits.training.writers import Writers
from seqdigits.visualization.metric_pictures import confusion_picture, reliability_picture

_LOGGED_AS = {"train": "train_evaluated"}
"""Name in the logs of an evaluated split: `train` has the losses of training steps."""
_CURVE_TRAIN = 1_000
"""Number of training examples of a curve, the first ones."""


OnEvaluation = Callable[[int, float], bool]
"""Called after each evaluation during a run with its step and its value of train.best_metric on validation. If it returns
True, the run ends there: the step is saved, and `evaluate.splits` are not evaluated. Every process calls it and must get
the same answer."""


def train_and_evaluate(
    config: ConfigDict,
    workdir: str | Path,
    stop: Stop | None = None,
    *,
    profile: int = 0,
    on_evaluation: OnEvaluation | None = None,
) -> TrainState:
    """Trains, or resumes training, to `train.steps`; then evaluates `evaluate.splits`.

    Args:
      config: a complete config, as from a file in configs/.
      workdir: the folder that keeps everything about the run; the same config and workdir resume from the newest
        checkpoint.
      stop: when it is set, the run saves a checkpoint and raises Stopped.
      profile: the number of steps to trace after the first call of the step, see training.profile; 0 = none.
      on_evaluation: may end the run after an evaluation.

    Returns:
      The last state.

    Raises:
      UserError: the config is invalid, the workdir is not usable, the disk is full, files are damaged, the loss is
        not finite (NonfiniteLoss), or fewer steps than `profile` are left.
      Stopped: `stop` was set before the end.
    """
    validate(config)
    workdir = Path(workdir)
    with explain_full_disk(workdir), claim(config, workdir) as lock:
        return _train_and_evaluate(config, workdir, lock, stop or Stop(), profile, on_evaluation or (lambda *_: False))


def _train_and_evaluate(
    config: ConfigDict, workdir: Path, lock: Lock | None, stop: Stop, profile: int, on_evaluation: OnEvaluation
) -> TrainState:
    """Runs train_and_evaluate in a locked workdir; one long function, so that it reads from top to bottom."""
    stop.saves = True
    # Data and model. Invalid combinations raise here, before data is read.
    devices = Devices(config.parallel)
    if config.data.half_scenes:
        check_devices(config.train.batch_size, devices.count)
    for split in ("validation", *config.evaluate.splits, *config.evaluate.curves):
        create_source(config, split)
    source = create_source(config, "train")
    model = build(config, source.spec, devices.axis)
    train_step = TrainStep(config, model)
    shapes = jax.eval_shape(partial(train_step.init, source))
    arrays = devices.replicate(source.arrays)

    # Compiled functions. A call of several steps is compiled once per number of steps.
    single_step = devices.compile_step(partial(train_step.train, source=source), donate=0)
    multi_step = devices.compile_step(partial(train_step.train, source=source), donate=0, stacked=True)
    predict_step = PredictStep(config, model)

    def evaluator(split: str) -> Evaluator:
        is_trained_on = split == "train" and trains_as_evaluated(config.data)
        evaluated = source if is_trained_on else create_source(as_evaluated(config), split)
        return Evaluator(predict_step, evaluated, devices, arrays if is_trained_on else None)

    validation = evaluator("validation")
    evaluators = {"validation": validation, **{split: evaluator(split) for split in config.evaluate.curves}}
    nonfinite_guard = nonfinite.NonfiniteGuard(config, workdir, source, arrays, devices)

    # State: restored from the newest checkpoint, or initialized. `Checkpoints` decides which checkpoints are kept.
    checkpoints = Checkpoints(workdir, config.train.keep_checkpoints)
    restored = restore(checkpoints, shapes, devices)
    if restored is None:
        initial, initialized_from = initial_variables(config)
        state = devices.jit(partial(train_step.init, source))()
        state = initialize(state, initial, config, source, arrays, evaluators.get("train"), devices)
        progress = Progress(initialized_from=initialized_from)
    else:
        state, progress = restored
    step, steps, is_ended = int(state.step), config.train.steps, False
    check_profile(profile, step, call_length(step, config), config)
    step_profile = StepProfile(workdir, profile)
    rewritten = [_LOGGED_AS.get(split, split) for split in SPLITS] if progress.evaluation_due else []
    writers = Writers(workdir, step, rewritten, hyperparameters(config))
    clock = Clock(progress.seconds, steps, config.train.batch_size)
    if step < steps and is_main():
        provenance.record(workdir, step, config.train.steps_per_call)

    try:
        print(_headline(config, source, state, devices), flush=True)
        if progress.evaluation_due:
            value = _evaluate(evaluators, state, step, config, progress, writers, stop)
            if value is None:
                raise Stopped
            checkpoints.amend(step, progress.meta(config, step, progress.seconds))
            is_ended = on_evaluation(step, value)
        began = time.monotonic()
        batches = source.batches(step, config.train.batch_size)
        length = call_length(step, config)
        host_batch = next_call(batches, length, devices)
        while step < steps and not is_ended:
            # Train
            with jax.profiler.StepTraceAnnotation("train", step_num=step):
                state = (single_step if length == 1 else multi_step)(state, arrays, host_batch)
                step += length
                length = call_length(step, config)
                host_batch = next_call(batches, length, devices)  # prepared on the host while the devices train
                jax.block_until_ready(state.step)
            step_profile.poll(step)
            if clock.first is None:
                clock.start(step)
                print(f"first step after {time.monotonic() - began:.1f} s", flush=True)
            checkpoints.poll()

            # Log
            if step % config.train.log_every == 0 or step == steps:
                nonfinite_guard.check(state)
                values = nonfinite.compute(jax.device_get(state.sums))
                values["seconds"] = clock.seconds()
                rate = clock.rate(step)
                if rate is not None:
                    values["images_per_second"] = rate
                writers.write(step, "train", values)
                print(clock.line(step, values), flush=True)
                state = state.replace(sums=devices.replicate(jax.tree.map(np.zeros_like, jax.device_get(state.sums))))

            # Evaluate
            previous_best = progress.best
            if step % config.evaluate.every == 0 or step == steps:
                nonfinite_guard.check(state)
                value = _evaluate(evaluators, state, step, config, progress, writers, stop)
                is_ended = value is not None and on_evaluation(step, value)
                clock.restart(step)

            # Save. A new best is saved at once; the progress records it as the one to keep.
            stopping = agree_to_stop(stop)
            is_last = step == steps or stopping or is_ended
            if step % config.train.checkpoint_every == 0 or is_last or progress.best != previous_best:
                nonfinite_guard.check(state)
                if lock is not None:
                    lock.check()
                checkpoints.save(step, state, progress.meta(config, step, clock.seconds()))
            if stopping:
                checkpoints.wait()
                print(f"saved step {step:,} of {steps:,}; rerun the same command to resume.", flush=True)
                raise Stopped
    finally:
        checkpoints.close()
        writers.close()
        step_profile.close(step)  # last: writing a trace may fail, and nothing depends on it
    if is_ended:
        return state

    # Final evaluation
    reports = {}
    for split in config.evaluate.splits:
        evaluated = evaluators.get(split) or evaluator(split)
        metadata = {"step": int(state.step), "checkpoint": "latest"}
        reports[split] = evaluated.report(workdir, split, state.variables(), metadata, stop)
    if reports:
        print(f"\nstep {int(state.step):,}\n{report_table(reports)}", flush=True)
    return state


def call_length(step: int, config: ConfigDict) -> int:
    """Returns the number of steps of the next call, at most train.steps_per_call.

    A call ends at the next boundary. Boundaries are the steps at which the run logs, saves, evaluates, or ends. The
    remainder before a boundary is split into powers of two. So at most 2 + log2(steps_per_call) programs are compiled,
    whatever the intervals are.

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
    """Returns the batches of a call on the devices: {} for 0 steps, [B, ...] for 1, else [S, B, ...]."""
    if length == 0:
        return {}
    if length == 1:
        return devices.shard_batch(next(batches))
    host_batches = [next(batches) for _ in range(length)]
    return devices.shard_batch(
        {name: np.stack([host_batch[name] for host_batch in host_batches]) for name in host_batches[0]}, stacked=True
    )


def _evaluate(
    evaluators: dict[str, Evaluator],
    state: TrainState,
    step: int,
    config: ConfigDict,
    progress: Progress,
    writers: Writers,
    stop: Stop,
) -> float | None:
    """Evaluates on validation and the splits of evaluate.curves, and updates `progress.best`, which retention keeps.

    Returns:
      train.best_metric on validation. None if `stop` ended the evaluation early: then `progress.evaluation_due` stays True,
      and the resumed run evaluates first.
    """
    progress.evaluation_due = True
    limit, found = config.evaluate.examples or None, {}
    try:
        for split, evaluator in evaluators.items():
            name = _LOGGED_AS.get(split, split)
            found[name] = evaluator.evaluate(state.variables(), _CURVE_TRAIN if split == "train" else limit, name, stop)
    except Stopped:
        return None
    progress.evaluation_due = False
    for name, metrics in found.items():
        writers.write(step, name, metrics)
        writers.write_image(step, f"{name}/confusion", confusion_picture(metrics["confusion"]))
        writers.write_image(step, f"{name}/reliability", reliability_picture(metrics["reliability"]))
    for name, image in evaluators["validation"].example_sheets(state.variables()).items():
        writers.write_image(step, f"validation/{name}", image)
    writers.flush()
    metrics = found["validation"]
    name = config.train.best_metric
    sign = -1 if name in LOWER_IS_BETTER else 1
    best = progress.best
    is_best = best is None or sign * metrics[name] >= sign * best["value"]  # of two equal values the later step
    if is_best:
        progress.best = {"step": step, "metric": name, "value": metrics[name]}
    error = metrics["localization_error"]
    localization = "" if error is None else f"  localization error {error:.2f} px²"
    print(
        f"  validation  sequence accuracy {metrics['sequence_accuracy']:.4f}{localization}{'  best' if is_best else ''}",
        flush=True,
    )
    return metrics[name]


def hyperparameters(config: ConfigDict) -> dict[str, bool | int | float | str]:
    """Returns the keys that identify a run, for TensorBoard; a tuple as JSON."""
    keys = {key: get(config, key) for key in DEFAULTS if key not in RESUMABLE_KEYS}
    return {key: json.dumps(value) if isinstance(value, tuple) else value for key, value in keys.items()}


def _headline(config: ConfigDict, source: DataSource, state: TrainState, devices: Devices) -> str:
    """Returns the first lines of the console: the model, the data, and the steps to do."""
    spec, steps, size, step = source.spec, config.train.steps, config.train.batch_size, int(state.step)
    examples = "endless" if spec.num_examples is None else f"{spec.num_examples:,}"
    lengths = f"{spec.min_length} to {spec.max_length}" if spec.min_length < spec.max_length else f"{spec.max_length}"
    data = config.data
    photographs = data.folder if data.photographs == "folder" else data.photographs
    contents = f"digit(s) of {photographs}" if data.composition in PHOTO_COMPOSITIONS else f"{data.digits} digit(s)"
    start = f"resumed from step {step:,}" if step else "starting"
    hardware = f"{devices.count} {jax.default_backend()} device(s)"
    todo = f"{start}: training to step {steps:,} with batches of {size} on {hardware}; compiling the first step"
    plan = f"all {step:,} steps are done" if step >= steps else todo
    return (
        f"{config.model.name}, {params.count(state.params):,} parameters; {examples} images of "
        f"{spec.image[0]}x{spec.image[1]} with {lengths} {contents}\n"
        f"{plan}"
    )
