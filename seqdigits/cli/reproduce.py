"""Runs a series of experiments: `python -m seqdigits reproduce [FAMILIES | NAMES ...]`.

Exit status: 0 success, or the budget is used up; 1 an experiment failed; 2 a user error; 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from seqdigits.config.flags import prepare_jax
from seqdigits.core.arguments import parse_arguments
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.experiments.reproduce import reproduce
from seqdigits.experiments.selection import chosen_experiments, known_experiments, parse_settings

USAGE = """python -m seqdigits reproduce [FAMILIES | NAMES ...] [--budget-minutes M] [--out DIR] [--workdirs DIR]
       [--fraction F] [--weights] [--skip DIR] [--set KEY=VALUE ...]"""


def main(stop: Stop) -> None:
    """Runs `seqdigits reproduce`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow names
    flags.DEFINE_float(
        "budget-minutes", None, "time limit in minutes; then the current run is saved", flag_values=values
    )
    flags.DEFINE_string("out", "results", "the folder of the results, NAME.json", flag_values=values)
    flags.DEFINE_string("workdirs", "runs", "the folder of the workdirs", flag_values=values)
    flags.DEFINE_float("fraction", 1.0, "part of each schedule to run, above 0 to 1", flag_values=values)
    flags.DEFINE_boolean(
        "weights", False, "also writes OUT/NAME.npz, the weights in half precision", flag_values=values
    )
    flags.DEFINE_string(
        "skip", None, "a folder of other results; an experiment with a result there is skipped", flag_values=values
    )
    flags.DEFINE_multi_string("set", [], "KEY=VALUE: changes a key of each config; repeatable", flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    arguments = parse_arguments(values, USAGE, f"{values.get_help()}\n\n{known_experiments()}")
    names, fraction = chosen_experiments(arguments), values["fraction"].value
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction = {fraction} is out of range: above 0, to 1.")

    prepare_jax()
    with _budget(values["budget-minutes"].value, stop):
        runs = reproduce(
            names,
            fraction=fraction,
            settings=parse_settings(values["set"].value),
            out=Path(values["out"].value),
            workdirs=Path(values["workdirs"].value),
            keep_weights=values["weights"].value,
            skip=Path(values["skip"].value) if values["skip"].value else None,
            stop=stop,
        )
    unfinished = any(run.state in ("stopped", "waiting") for run in runs)
    if unfinished and not stop.exit_status:
        print("The budget is used up; rerun the same command to resume.", flush=True)
    if not stop.exit_status and any(run.state == "failed" for run in runs):
        sys.exit(1)
    if unfinished:
        raise Stopped  # with the status of the signal, or 0


@contextlib.contextmanager
def _budget(minutes: float | None, stop: Stop) -> Iterator[None]:
    """Sets `stop` after some minutes. Its exit status then stays 0, unlike after a signal."""
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
