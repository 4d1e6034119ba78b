"""Runs a series of experiments, a queue that needs nobody beside it, and compares each result with the published one.

The run of an experiment is in `WORKDIRS/NAME` and resumes where it stopped. `OUT/NAME.json` is written when it is complete,
and marks it as done; when the budget is used up, it is written for the steps so far, and marked as partial.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from seqdigits.checkpoint import weights
from seqdigits.config import registry as config_registry
from seqdigits.config.registry import load_config
from seqdigits.config.saved import diff_results
from seqdigits.config.upgrade import old_names
from seqdigits.core import params, provenance
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.experiments import results
from seqdigits.experiments.budget import Budget
from seqdigits.experiments.results import Result
from seqdigits.experiments.run import Run, name_of, weights_of
from seqdigits.experiments.selection import settings_of_seeds
from seqdigits.experiments.table import progress_table, seeds_table, summary, time_left
from seqdigits.training.lock import InUse, InUseElsewhere
from seqdigits.training.loop import train_and_evaluate


def reproduce(
    names: Sequence[str],
    *,
    fraction: float = 1.0,
    settings: dict[str, Any] | None = None,
    seeds: int = 1,
    out: Path = Path("results"),
    workdirs: Path = Path("runs"),
    keep_weights: bool = False,
    skip: Path | None = None,
    stop: Stop | None = None,
    budget: Budget | None = None,
) -> list[Run]:
    """Runs experiments one at a time. A failed one does not stop the series, nor one that another command runs.

    Those that were begun come first, see `queue_order`. Prints a line before each, its row after it, and all rows at the
    end.

    Args:
      names: files in configs/.
      fraction: part of each schedule to run, above 0 to 1.
      settings: config keys to change, with values of their types.
      seeds: number of seeds of each experiment. The first is that of the config, whose result is that of one seed; the others
        are runs of their own, NAME+seed=1 and so on. All experiments are run with one seed before the next seed begins.
      out: folder of the results.
      workdirs: folder of the workdirs.
      keep_weights: whether to write the weights too, as OUT/NAME.npz in half precision.
      skip: a folder of other results; an experiment with a result there is not run, with or without weights.
      stop: when it is set, the current run saves, and the remaining ones do not start. With an exit status of 0, as the
        budget sets it, the current run is evaluated too, and its partial result is written.
      budget: the time limit; it has begun. None = no limit.

    Returns:
      The runs, in the order of the names.

    Raises:
      UserError: `out` cannot be written, or there are several seeds beside a setting `seed`.
    """
    of_seeds = settings_of_seeds(settings or {}, seeds)
    make_folder(out, "--out")
    stop, budget = stop or Stop(), budget or Budget()
    program = provenance.describe()  # at the start: files may change while the series runs
    runs = []
    for of_seed, base in itertools.product(of_seeds, names):
        name = name_of(base, of_seed)
        _adopt_old_name(name_of(base, old_names(of_seed)), name, out, workdirs)
        runs.append(Run(base, of_seed, workdirs / name, out / f"{name}.json"))
        with _noted(runs[-1]):
            _prepare(runs[-1], fraction, keep_weights, skip)
    _wake_first_stages(runs)
    queue = queue_order([run for run in runs if run.state == "waiting"])
    with budget.limits(stop):
        for number, run in enumerate(queue, start=1):
            if stop.is_set():
                break
            first = next((other for other in runs if other.name == _first_stage_name(run)), None)
            if first is not None and first.state == "in use":
                run.problem = f"it is initialized from {first.name}, which another command runs."
                continue
            print(f"\n--- {run.name} ({number} of {len(queue)}), {budget.text()}", flush=True)
            with _noted(run):
                _train(run, program, keep_weights, stop)
            print("\n".join(["", progress_table([run]), *time_left(runs), ""]), flush=True)
            if number < len(queue):  # programs and data of finished runs would fill the memory of a long series
                jax.clear_caches()
                gc.collect()
    print("\n\n".join([progress_table(runs), *seeds_table(runs), f"{summary(runs)}; {budget.text()}"]), flush=True)
    return runs


def queue_order(runs: Sequence[Run]) -> list[Run]:
    """Returns the runs in the order of the queue.

    Begun runs are first, the one with the largest share of its steps done before the others; then those without a saved
    step, in the order given. A run that another is initialized from goes before that one.
    """
    share = {run.name: results.progress(run.workdir)[0] / run.steps for run in runs}
    by_name = {run.name: run for run in runs}
    queue: dict[str, Run] = {}

    def add(run: Run) -> None:
        first = by_name.get(_first_stage_name(run))
        if first is not None and first is not run and first.name not in queue:
            add(first)
        queue.setdefault(run.name, run)

    for run in sorted(runs, key=lambda run: -share[run.name]):
        add(run)
    return list(queue.values())


def _prepare(run: Run, fraction: float, keep_weights: bool, skip: Path | None) -> None:
    """Loads the config, and an earlier result that is sufficient."""
    config = load_config(run.base)
    run.planned = config.train.steps
    config.update_from_flattened_dict(run.settings)
    run.config, run.steps = config, steps_of(config, fraction)
    run.result = _own_result(run, keep_weights)
    if run.result is None and skip is not None:
        names = (run.name, name_of(run.base, old_names(run.settings)))
        run.result = next(filter(None, (_earlier(run, skip / f"{name}.json") for name in names)), None)
    if run.result is not None:
        run.state = "done before"


def _own_result(run: Run, keep_weights: bool) -> Result | None:
    """Returns the result in the folder of results, if it is sufficient and has its weights where they are wanted."""
    return None if keep_weights and not weights_of(run).exists() else _earlier(run, run.path)


def _adopt_old_name(old: str, new: str, out: Path, workdirs: Path) -> None:
    """Renames the workdir and the result of a run whose name contains renamed keys, so that it resumes."""
    for folder, suffix in ((workdirs, ""), (out, ".json"), (out, ".npz")):
        source, target = folder / f"{old}{suffix}", folder / f"{new}{suffix}"
        if old != new and source.exists() and not target.exists():
            source.rename(target)
            print(f"{source} was renamed to {target}", flush=True)


def _wake_first_stages(runs: Sequence[Run]) -> None:
    """Runs a finished experiment again if a waiting one is initialized from it and its workdir is missing.

    This happens where the result was found in the folder `skip`.
    """
    needed = {_first_stage_name(run) for run in runs if run.state == "waiting"}
    for run in runs:
        if run.state == "done before" and run.name in needed and not run.path.exists():
            run.state, run.result = "waiting", None


def _first_stage_name(run: Run) -> str:
    """Returns the name, in this series, of the run that init.path names; where it names none, no run has that name."""
    return name_of(Path(run.config.init.path).name, run.settings)


def steps_of(config: Any, fraction: float) -> int:
    """Returns the number of steps of a fraction of the schedule, at least one."""
    return max(1, round(fraction * config.train.steps))


def _first_stage(run: Run) -> str:
    """Returns what the run is initialized from: init.path, where runs/NAME in a config means the run NAME of this series.

    Raises:
      UserError: that run is not complete.
    """
    path = Path(run.config.init.path)
    if path.parent != Path("runs") or path.name not in config_registry.config_names() or "init.path" in run.settings:
        return run.config.init.path
    first = name_of(path.name, run.settings)
    workdir = run.workdir.with_name(first)
    steps = results.progress(workdir)[0]
    planned = run.settings.get("train.steps", config_registry.load_config(path.name).train.steps)
    if steps < planned:
        raise UserError(
            f"it is initialized from {first}, and {workdir} has {steps:,} of {planned:,} steps. Complete that run first "
            f"(delete {run.path.with_name(first + '.json')} if its workdir is lost), or name another: --set init.path=DIR."
        )
    return str(workdir)


def _earlier(run: Run, path: Path, steps: int | None = None) -> Result | None:
    """Returns the existing result if it has the same config and at least `steps`, by default those requested."""
    try:
        result = Result.from_json(path.read_text())
        enough = not diff_results(run.config, result.config) and result.steps >= (steps or run.steps)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # missing or invalid: it is written again
    return result if enough else None


def _train(run: Run, program: dict[str, Any], keep_weights: bool, stop: Stop) -> None:
    """Trains and evaluates one experiment, and writes its result: a partial one when the budget ends before."""
    run.result = _own_result(run, keep_weights)
    if run.result is not None:  # another command has completed it since this one began
        run.state = "done before"
        return
    try:
        _train_to(run, run.steps, program, keep_weights, stop)
    except Stopped:
        if stop.exit_status:
            raise
        _record_saved_steps(run, program, keep_weights, stop)


def _record_saved_steps(run: Run, program: dict[str, Any], keep_weights: bool, stop: Stop) -> None:
    """Evaluates the saved steps of a run that the budget stopped. A signal stops the evaluation.

    Raises:
      Stopped: no step is saved, the existing result is of later steps, or a signal came.
    """
    saved = results.progress(run.workdir)[0]
    if not saved:
        raise Stopped
    if _earlier(run, run.path, saved + 1) is not None:
        print(f"{run.path} is of more steps than the {saved:,} that are saved now, and is kept.", flush=True)
        raise Stopped
    print(f"The budget is used up: evaluating step {saved:,} of {run.steps:,} for a partial result.", flush=True)
    stop.clear()
    if stop.exit_status:  # a signal that came before the line above
        stop.set()
    try:
        _train_to(run, saved, program, keep_weights, stop)
    finally:
        stop.set()


def _train_to(run: Run, steps: int, program: dict[str, Any], keep_weights: bool, stop: Stop) -> None:
    """Trains to a number of steps, evaluates, and writes the result."""
    config = run.config.copy_and_resolve_references()
    config.train.steps = steps
    config.init.path = _first_stage(run)
    state = train_and_evaluate(config, run.workdir, stop)
    run.result = results.collect(
        run.name, run.config, run.settings, run.planned, run.workdir, program, params.count(state.params)
    )
    if keep_weights:
        about = {"step": run.result.steps, "commit": program["commit"]}
        about |= {"config": run.result.config, "initialized_from": run.result.initialized_from}
        weights.save(weights_of(run), state.variables(), about, half=True)
    write_atomically(run.path, run.result.to_json())
    run.state = "partial" if run.result.partial else "done"


@contextlib.contextmanager
def _noted(run: Run) -> Iterator[None]:
    """Records a failure in the run, so that the series continues."""
    try:
        yield
    except Stopped:
        run.state = "stopped"
    except (InUse, InUseElsewhere) as e:
        run.state, run.problem = "in use", str(e)
    except UserError as e:
        run.state, run.problem = "failed", str(e)
    except Exception as e:
        run.state, run.problem = "failed", f"{type(e).__name__}: {e}\n{_keep_traceback(run.workdir)}"


def _keep_traceback(workdir: Path) -> str:
    """Writes the traceback of the current exception to `W/error.txt`; returns a sentence with its path."""
    path = workdir / "error.txt"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc())
    except OSError:
        return traceback.format_exc()
    return f"The traceback is in {path}."
