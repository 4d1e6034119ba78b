"""Runs experiments one after another: `python -m seqdigits reproduce [FAMILIES | NAMES ...]`.

Exit status: 0 done, or the budget is used up; 1 an experiment failed; 2 an error on the command line; 130 or 143 stopped by a
signal.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from seqdigits.config.flags import prepare_jax
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.experiments.reproduce import reproduce
from seqdigits.experiments.selection import chosen_experiments, known_experiments, parse_settings

USAGE = """python -m seqdigits reproduce [FAMILIES | NAMES ...] [--budget-minutes M] [--out DIR] [--workdirs DIR]
       [--fraction F] [--weights] [--skip DIR] [--set KEY=VALUE ...]"""


def main(stop: Stop) -> None:
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may stand behind names
    flags.DEFINE_float("budget-minutes", None, "stops after so long, all in all", flag_values=values)
    flags.DEFINE_string("out", "results", "the folder of the results, NAME.json each", flag_values=values)
    flags.DEFINE_string("workdirs", "runs", "the folder of the runs' folders", flag_values=values)
    flags.DEFINE_float("fraction", 1.0, "runs only this first part of each schedule", flag_values=values)
    flags.DEFINE_boolean("weights", False, "also OUT/NAME.npz: the weights in half precision", flag_values=values)
    flags.DEFINE_string("skip", None, "a folder of other results: what it has is not run", flag_values=values)
    flags.DEFINE_multi_string("set", [], "KEY=VALUE: changes a key of each config; repeatable", flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    if {"--help", "-h", "--helpfull"} & set(sys.argv):
        raise Help(f"usage: {USAGE}\n\n{values.get_help()}\n\n{known_experiments()}")
    try:
        arguments = values(sys.argv)[1:]
    except flags.Error as e:
        raise UserError(f"{e}\nusage: {USAGE}") from e
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
