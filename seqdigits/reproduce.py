"""Runs experiments one after another and writes down each figure beside the published one:
`python -m seqdigits.reproduce [FAMILIES | NAMES ...]`.

Each run lies in `WORKDIRS/NAME` and goes on where it stopped; `OUT/NAME.json` is written at its end, and says that it
is done. Exit status: 0 done, or the budget is used up; 1 an experiment failed; 2 a mistake on the command line; 130 or
143 stopped by a signal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seqdigits import experiments, interrupt, results
from seqdigits.errors import Help, UserError
from seqdigits.interrupt import Stop, Stopped
from seqdigits.published import FAMILIES, PUBLISHED, Published

USAGE = """python -m seqdigits.reproduce [FAMILIES | NAMES ...] [--budget-minutes M] [--out DIR] [--workdirs DIR]
       [--fraction F] [--weights] [--set KEY=VALUE ...]"""


def _main(stop: Stop) -> None:
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may stand behind names
    flags.DEFINE_float("budget-minutes", None, "stops after so long, all in all", flag_values=values)
    flags.DEFINE_string("out", "results", "the folder of the results, NAME.json each", flag_values=values)
    flags.DEFINE_string("workdirs", "runs", "the folder of the runs' folders", flag_values=values)
    flags.DEFINE_float("fraction", 1.0, "runs only this first part of each schedule", flag_values=values)
    flags.DEFINE_boolean("weights", False, "also OUT/NAME.npz: the weights in half precision", flag_values=values)
    flags.DEFINE_multi_string("set", [], "KEY=VALUE: changes a key of each config; repeatable", flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    if {"--help", "-h", "--helpfull"} & set(sys.argv):
        raise Help(f"usage: {USAGE}\n\n{values.get_help()}\n\n{_known()}")
    try:
        arguments = values(sys.argv)[1:]
    except flags.Error as e:
        raise UserError(f"{e}\nusage: {USAGE}") from e
    names, fraction = chosen(arguments), values["fraction"].value
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction = {fraction} is out of range: above 0, to 1.")

    from seqdigits import command_line

    command_line.prepare_jax()
    with _budget(values["budget-minutes"].value, stop):
        runs = reproduce(
            names,
            fraction=fraction,
            settings=parse_settings(values["set"].value),
            out=Path(values["out"].value),
            workdirs=Path(values["workdirs"].value),
            keep_weights=values["weights"].value,
            stop=stop,
        )
    unfinished = any(run.state in ("stopped", "waiting") for run in runs)
    if unfinished and not stop.exit_status:
        print("The budget is used up; the same command goes on from here.", flush=True)
    if not stop.exit_status and any(run.state == "failed" for run in runs):
        sys.exit(1)
    if unfinished:
        raise Stopped  # with the status of the signal, or 0


@contextlib.contextmanager
def _budget(minutes: float | None, stop: Stop) -> Iterator[None]:
    """Sets `stop` after so many minutes; its exit status stays 0 then, unlike after a signal."""
    if minutes is None:
        yield
        return
    if not minutes > 0:
        raise UserError(f"--budget-minutes = {minutes} is out of range: above 0.")
    timer = threading.Timer(min(minutes * 60, threading.TIMEOUT_MAX), stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# --- which experiments --------------------------------------------------------------------------------------------


def chosen(arguments: Sequence[str]) -> list[str]:
    """The experiments that are meant, each once.

    Args:
      arguments: letters of families, and names of files in configs/, with or without the folder and .py; none = all
        that are published.

    Raises:
      UserError: an argument is unknown, or its file is missing.
    """
    there = experiments.names()
    names: list[str] = []
    for argument in arguments or FAMILIES:
        name = argument.removeprefix("configs/").removesuffix(".py")
        if argument in FAMILIES:
            names += [name for name, row in PUBLISHED.items() if row.family == argument]
        elif name in there or name in PUBLISHED:
            names.append(name)
        else:
            raise UserError(f"there is no experiment {argument!r}.{experiments.near(argument) or f' {_known()}'}")
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(
            f"there is no file in {experiments.CONFIGS} for {', '.join(missing)}. Name the experiments to run. {_known()}"
        )
    return list(dict.fromkeys(names))


def _known() -> str:
    families = ", ".join(f"{letter} ({what})" for letter, what in FAMILIES.items())
    return f"Families are {families}. Names are {', '.join(experiments.names())}."


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """What `--set KEY=VALUE ...` asks for, by key in their order, each value of the type that the key has.

    Raises:
      UserError: no such key, or a value of another type.
    """
    from seqdigits.config import base_config

    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, for example --set train.batch_size=64.")
        settings[key] = _typed(key, value, _default(base_config(), key))
    return dict(sorted(settings.items()))


def _default(config: Any, key: str) -> Any:
    for part in key.split("."):
        if not hasattr(config, "keys") or part not in config:
            raise UserError(f"--set {key}: there is no such key. The keys stand in seqdigits/config.py.")
        config = config[part]
    return config


def _typed(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        values = {"true": True, "false": False}
        if text.lower() not in values:
            raise UserError(f"--set {key}={text}: allowed are true and false.")
        return values[text.lower()]
    if not isinstance(default, int | float | str):
        raise UserError(f"--set {key}: only numbers, texts, true and false can be set here. Change the config's file.")
    try:
        return type(default)(text)
    except ValueError as e:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise UserError(f"--set {key}={text}: it takes {kind}, such as {default}.") from e


# --- running them -------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Run:
    """One experiment of the series.

    Attributes:
      base: the config's name.
      settings: keys that differ from its file.
      workdir: of the run.
      path: of its result.
      state: waiting | done | done before | partial | stopped | failed.
      config: as planned, for all of its steps; None until it is loaded.
      planned: the steps that its file has.
      steps: how many are asked for now.
      result: what stands in `path`; None until it is done.
      problem: why it failed.
    """

    base: str
    settings: dict[str, Any]
    workdir: Path
    path: Path
    state: str = "waiting"
    config: Any = None
    planned: int = 0
    steps: int = 0
    result: dict[str, Any] | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        return name_of(self.base, self.settings)

    @property
    def published(self) -> Published | None:
        return PUBLISHED.get(self.base)


def name_of(base: str, settings: dict[str, Any]) -> str:
    """What a run is called, fit for a file.

    >>> name_of("strip5_gru", {"data.folder": "/data", "train.steps": 5})
    'strip5_gru+data.folder=%2Fdata+train.steps=5'
    """
    return base + "".join(f"+{key}={quote(str(value), safe='')}" for key, value in settings.items())


def reproduce(
    names: Sequence[str],
    *,
    fraction: float = 1.0,
    settings: dict[str, Any] | None = None,
    out: Path = Path("results"),
    workdirs: Path = Path("runs"),
    keep_weights: bool = False,
    stop: Stop | None = None,
) -> list[Run]:
    """Runs experiments one after another, with a table after each; what fails is noted and the next one runs.

    Args:
      names: files in configs/.
      fraction: above 0, to 1: how much of each schedule.
      settings: keys of the configs to change, with values of their types.
      out: where the results are written.
      workdirs: where the runs' folders are.
      keep_weights: whether the weights are written beside the results, OUT/NAME.npz, in half precision.
      stop: when it is set, the run saves, and what follows waits.

    Returns:
      The runs, in the order of the names.

    Raises:
      UserError: `out` cannot be written.
    """
    from seqdigits import provenance
    from seqdigits.writers import make_folder

    make_folder(out, "--out")
    stop, settings = stop or Stop(), settings or {}
    program = provenance.describe()  # now: the files may change while the series runs
    runs = []
    for base in names:
        name = name_of(base, settings)
        runs.append(Run(base, settings, workdirs / name, out / f"{name}.json"))
        with _noted(runs[-1]):
            _prepare(runs[-1], fraction, keep_weights)
    waiting = [run for run in runs if run.state == "waiting"]
    if not waiting:
        print(table(runs), flush=True)
    for number, run in enumerate(waiting, start=1):
        if stop.is_set():
            break
        print(f"\n--- {run.name} ({number} of {len(waiting)})", flush=True)
        with _noted(run):
            _train(run, program, keep_weights, stop)
        print("\n".join(["", table(runs), *_time_left(runs), ""]), flush=True)
    return runs


def _prepare(run: Run, fraction: float, keep_weights: bool) -> None:
    """Loads the config and an earlier result, where that is enough."""
    config = experiments.load(run.base)
    run.planned = config.train.steps
    config.update_from_flattened_dict(run.settings)
    run.config, run.steps = config, steps_of(config, fraction)
    run.result = None if keep_weights and not _weights_of(run).exists() else _earlier(run)
    if run.result is not None:
        run.state = "done before"


def steps_of(config: Any, fraction: float) -> int:
    """The steps of the first part of a schedule: whole calls, at least one."""
    if fraction == 1:
        return config.train.steps
    call = config.train.steps_per_call
    return max(1, round(fraction * config.train.steps / call)) * call


def _weights_of(run: Run) -> Path:
    return run.path.with_name(f"{run.name}.npz")


def _first_stage(run: Run) -> str:
    """What the run begins with: init.path, and where its config names runs/NAME, the run NAME of this series.

    Raises:
      UserError: that one is not trained to its end.
    """
    path = Path(run.config.init.path)
    if path.parent != Path("runs") or path.name not in experiments.names() or "init.path" in run.settings:
        return run.config.init.path
    first = name_of(path.name, run.settings)
    workdir = run.workdir.with_name(first)
    steps, planned = results.progress(workdir)[0], experiments.load(path.name).train.steps
    if steps < planned:
        raise UserError(
            f"it begins with {first}, of which {workdir} has {steps:,} of {planned:,} steps. Run that to its end first "
            f"({run.path.with_name(first)}.json must go if its workdir is lost), or name another: --set init.path=DIR."
        )
    return str(workdir)


def _earlier(run: Run) -> dict[str, Any] | None:
    """The result that is there, if it is of the same config and of no fewer steps than are asked for."""
    from seqdigits.config import changes

    try:
        result = json.loads(run.path.read_text())
        enough = not changes(run.config, result["config"]) and result["steps"] >= run.steps
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or not one of ours: it is written again
    return result if enough else None


def _train(run: Run, program: dict[str, Any], keep_weights: bool, stop: Stop) -> None:
    """Trains and evaluates one, and writes its result."""
    from seqdigits import params, weights
    from seqdigits.train import train_and_evaluate
    from seqdigits.writers import write_atomically

    config = run.config.copy_and_resolve_references()
    config.train.steps = run.steps
    config.init.path = _first_stage(run)
    state = train_and_evaluate(config, run.workdir, stop)
    run.result = results.collect(
        run.name, run.base, run.config, run.settings, run.planned, run.workdir, program, params.count(state.params)
    )
    if keep_weights:
        about = {"step": run.result["steps"], "commit": program["commit"]}
        about |= {key: run.result[key] for key in ("config", "begun_with")}
        weights.save(_weights_of(run), state.variables(), about, half=True)
    write_atomically(run.path, json.dumps(run.result, indent=1))
    run.state = "partial" if run.result["partial"] else "done"


@contextlib.contextmanager
def _noted(run: Run) -> Iterator[None]:
    """Keeps what goes wrong with one experiment from the others."""
    try:
        yield
    except Stopped:
        run.state = "stopped"
    except UserError as e:
        run.state, run.problem = "failed", str(e)
    except Exception as e:
        run.state, run.problem = "failed", f"{type(e).__name__}: {e}\n{_keep_traceback(run.workdir)}"


def _keep_traceback(workdir: Path) -> str:
    """Writes the current exception's traceback to `W/error.txt`; says where it is."""
    path = workdir / "error.txt"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc())
    except OSError:
        return traceback.format_exc()
    return f"The traceback is in {path}."


# --- what a person sees -------------------------------------------------------------------------------------------

_HEAD = ("experiment", "state", "steps", "minutes", "figure", "ours", "published", "beaten")


def table(runs: Sequence[Run]) -> str:
    """How far each is, and ours beside what was published: of test, else of validation."""
    rows = [_HEAD, *(row for run in runs for row in _rows(run))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"\n{run.name} failed: {run.problem}" for run in runs if run.problem)])


def _rows(run: Run) -> list[tuple[str, ...]]:
    steps, minutes = _steps_and_minutes(run)
    planned = f"{run.planned:,}" if run.config is not None else "?"
    start = (run.name, run.state, f"{steps:,}/{planned}", f"{minutes:.1f}" if steps else "-")
    figures = _figures(run) or [("-", "-", "-", "-")]
    return [(*start, *figures[0]), *(("", "", "", "", *figure) for figure in figures[1:])]


def _steps_and_minutes(run: Run) -> tuple[int, float]:
    if run.result is not None:
        return run.result["steps"], run.result["minutes"]
    steps, seconds = results.progress(run.workdir)
    return steps, seconds / 60


def _figures(run: Run) -> list[tuple[str, str, str, str]]:
    """Name, ours, published, beaten; ours alone where nothing was published."""
    if run.published is None or not run.published.figures:
        report = run.result["reports"].get("test", {}) if run.result else {}
        names = [name for name in ("sequence_accuracy", "localization_error") if report.get(name) is not None]
        return [(f"test {name}", _number(report[name], name), "-", "-") for name in names]
    figures = run.published.figures
    found = _found(run.result) if run.result else {}
    rows = []
    for figure in [figure for figure in figures if figure.split == "test"] or figures:
        value, is_beaten = found.get((figure.split, figure.metric), (None, None))
        verdict = "-" if is_beaten is None else "yes" if is_beaten else "no"
        rows.append((f"{figure.split} {figure.metric}", _number(value, figure.metric), f"{figure.value:g}", verdict))
    return rows


def _found(result: dict[str, Any]) -> dict[tuple[str, str], tuple[float | None, bool | None]]:
    figures = (result["published"] or {"figures": []})["figures"]
    return {(entry["split"], entry["metric"]): (entry["ours"], entry["beaten"]) for entry in figures}


def _number(value: float | None, metric: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} px²" if metric == "localization_error" else f"{value:.4f}"


def _time_left(runs: Sequence[Run]) -> list[str]:
    """A line on what waits; with a time as soon as one was trained here to tell from."""
    from seqdigits.clock import duration

    waiting = [run for run in runs if run.state == "waiting"]
    if not waiting:
        return []
    steps = sum(max(0, run.steps - results.progress(run.workdir)[0]) for run in waiting)
    line = f"{len(waiting)} to go, {steps:,} steps"
    trained = [run.result for run in runs if run.result is not None and run.state in ("done", "partial")]
    if not trained:
        return [line]
    second = 60 * sum(result["minutes"] for result in trained) / sum(result["steps"] for result in trained)
    return [f"{line}: about {duration(steps * second)} if a step takes as long as it did so far, {second:.3f} s"]


if __name__ == "__main__":
    interrupt.run(_main)
