"""One worker of a search: takes trials, trains them, prunes them on validation, until all are finished.

Several workers may run the same search at the same time, on one machine or on several that share its folder: each is
the same command. Validation alone decides: no trial reads test data.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
from ml_collections import ConfigDict

from seqdigits.config_checks.validate import validate
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import duration
from seqdigits.data.create import create_source
from seqdigits.models.build import build
from seqdigits.training.loop import train_and_evaluate
from seqdigits.training.nonfinite import NonfiniteLoss
from seqdigits.training.train_step import TrainStep
from seqdigits.tuning.found_config import config_text
from seqdigits.tuning.outputs import search_table, write_outputs
from seqdigits.tuning.space import Space, with_settings
from seqdigits.tuning.study import Claimed, Row, Study


def search(
    config: ConfigDict,
    base: str | None,
    space: Space,
    folder: Path,
    *,
    trials: int,
    seed: int = 0,
    stop: Stop | None = None,
) -> list[Row]:
    """Runs trials of a search until `trials` of them are finished, by this worker and all others.

    Args:
      config: what all trials share, complete.
      base: the name of the config file that `config` comes from; None if it is a file outside of configs/.
      space: what the trials vary.
      folder: of the search; if it holds one, that is resumed.
      trials: number of trials, complete, pruned and failed.
      seed: of the sampler.
      stop: when it is set, the present trial is saved.

    Returns:
      All trials.

    Raises:
      UserError: the folder is not usable or holds another search, Optuna or data are missing, or the disk is full.
      Stopped: `stop` was set before the end.
    """
    stop, shared = stop or Stop(), without_test(config)
    study = Study(folder, shared, space, seed, stop)
    progress = Progress(trials, study.rows())
    while not stop.is_set():
        claimed = study.claim(trials)
        if claimed is None:
            break
        print(f"\n--- trial {claimed.number} of {trials}: {values_text(claimed)}", flush=True)
        with _released(claimed):
            _run(study, shared, base, claimed, stop)
        rows = study.rows()
        with study.exclusive():
            write_outputs(study, config, base)
        print(f"\n{search_table(rows[claimed.number : claimed.number + 1], study)}\n{progress.line(rows)}", flush=True)
        jax.clear_caches()  # programs and data of finished trials would fill the memory of a long search
        gc.collect()
    rows = study.rows()
    with study.exclusive():
        write_outputs(study, config, base)
    print(f"\n{search_table(rows, study)}\n\n{progress.line(rows)}", flush=True)
    if stop.is_set():
        raise Stopped
    running = [str(row.number) for row in rows if row.state == "running"]
    if running:
        print(
            f"Other workers run trial {', '.join(running)}. If one of them ends early, rerun the same command to resume its trial.",
            flush=True,
        )
    return rows


def without_test(config: ConfigDict) -> ConfigDict:
    """Returns the config of trials: no split is evaluated at their end, and no curve is of test."""
    curves = tuple(split for split in config.evaluate.curves if split != "test")
    return with_settings(config, {"evaluate.splits": (), "evaluate.curves": curves})


def _problem(config: ConfigDict) -> str:
    """Returns why a config cannot be trained, a combination of values that are allowed one by one; "" if it can.

    A network that cannot be built is found here. Otherwise every worker would take up its trial and end with the error.

    Raises:
      UserError: the data cannot be read, which is not of the trial.
    """
    try:
        validate(config)
    except UserError as e:
        return str(e)
    source = create_source(config, "train")
    try:
        jax.eval_shape(partial(TrainStep(config, build(config, source.spec)).init, source))
    except UserError as e:
        return str(e)
    return ""


def _run(study: Study, config: ConfigDict, base: str | None, claimed: Claimed, stop: Stop) -> None:
    """Trains a trial to its end, or until it is pruned or fails, and records it.

    Raises:
      Stopped: `stop` was set. The trial is saved and still counts as running; the next worker resumes it.
    """
    trial_config = with_settings(config, study.space.settings(claimed.values))
    is_pruned = False

    def on_evaluation(step: int, score: float) -> bool:
        nonlocal is_pruned
        claimed.report(step, score)
        is_pruned = step < config.train.steps and study.should_prune(claimed)
        if is_pruned:
            print(f"  pruned at step {step:,}: worse than the median of the complete trials", flush=True)
        return is_pruned

    if problem := _problem(trial_config):
        study.finish(claimed, "failed", problem=problem)
        return
    about = f"Trial {claimed.number} of a search; its workdir is the folder of this file."
    write_atomically(claimed.workdir / "config.py", config_text(trial_config, base, about))
    try:
        train_and_evaluate(trial_config, claimed.workdir, stop, on_evaluation=on_evaluation)
    except Stopped:
        claimed.record_cost()
        if is_pruned:
            study.finish(claimed, "pruned")
        raise
    except (NonfiniteLoss, jax.errors.JaxRuntimeError) as e:  # the latter: out of memory
        claimed.record_cost()
        study.finish(claimed, "failed", problem=str(e))
        return
    claimed.record_cost()
    if is_pruned:
        study.finish(claimed, "pruned")
    else:
        study.finish(claimed, "complete", study.rows()[claimed.number].score)


@contextlib.contextmanager
def _released(claimed: Claimed) -> Iterator[None]:
    """Releases the lock of a trial at the end; where `stop` ended the trial, the search prints its table first."""
    try:
        yield
    except Stopped:
        pass
    finally:
        claimed.lock.release()


def values_text(claimed: Claimed) -> str:
    """Returns the values of a trial as text."""
    return ", ".join(f"{name} = {value!r}" for name, value in claimed.values.items())


class Progress:
    """The progress of a search as a line: counts, rate and time left."""

    def __init__(self, trials: int, rows: Sequence[Row]):
        """Starts the clock; the rate is that of the trials that finish from now on, in all workers."""
        self._trials = trials
        self._before = _finished(rows)
        self._began = time.monotonic()

    def line(self, rows: Sequence[Row]) -> str:
        """Returns the line."""
        finished, seconds = _finished(rows), time.monotonic() - self._began
        counts = [
            f"{sum(row.state == state for row in rows)} {state}"
            for state in ("complete", "pruned", "failed", "running")
        ]
        parts = [f"{finished} of {self._trials} trials finished ({', '.join(counts)})"]
        done = finished - self._before
        if done:
            left = max(self._trials - finished, 0)
            parts.append(
                f"{3600 * done / seconds:,.3g} an hour" + (f", {duration(seconds / done * left)} left" if left else "")
            )
        return "; ".join(parts)


def _finished(rows: Sequence[Row]) -> int:
    return sum(row.state != "running" for row in rows)
