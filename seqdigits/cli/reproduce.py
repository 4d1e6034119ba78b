"""Runs a series of experiments: `seqdigits reproduce [FAMILIES | NAMES ...]`.

It runs at the lowest priority. Exit status: 0 success, the budget is used up, or another command runs the rest; 1 an experiment
failed; 2 a user error; 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.experiments.budget import Budget
from seqdigits.experiments.reproduce import reproduce
from seqdigits.experiments.selection import chosen_experiments, known_experiments, parse_settings

USAGE = """seqdigits reproduce [FAMILIES | NAMES ...] [--budget-minutes M] [--out DIR] [--workdirs DIR]
       [--seeds N] [--fraction F] [--weights] [--skip DIR] [--set KEY=VALUE ...]"""


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__, known_experiments())
    parser.add_argument("experiments", nargs="*", metavar="FAMILY | NAME", help="what to run; default: all families")
    parser.add_argument(
        "--budget-minutes",
        type=float,
        metavar="M",
        help="time limit of training in minutes; then the current run is saved and evaluated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="the folder of the results, NAME.json (default %(default)s)",
    )
    parser.add_argument(
        "--workdirs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="the folder of the workdirs (default %(default)s)",
    )
    parser.add_argument(
        "--seeds",
        type=integer_from(1),
        default=1,
        metavar="N",
        help="number of seeds of each experiment: that of its config, then 1 to N - 1 (default 1)",
    )
    parser.add_argument(
        "--fraction",
        type=float,
        default=1.0,
        metavar="F",
        help="part of each schedule to run, above 0 to 1 (default 1)",
    )
    parser.add_argument(
        "--weights", action="store_true", help="also writes OUT/NAME.npz, the weights in half precision"
    )
    parser.add_argument(
        "--skip", metavar="DIR", help="a folder of other results; an experiment with a result there is skipped"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="changes a key of each config; repeatable"
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits reproduce`."""
    values = command_line().parse_command_line()
    names, fraction = chosen_experiments(values.experiments), values.fraction
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction = {fraction} is out of range: above 0, to 1.")

    budget = Budget(values.budget_minutes)
    os.nice(19)  # the lowest priority, in which the machine stays usable
    prepare_jax()
    runs = reproduce(
        names,
        fraction=fraction,
        settings=parse_settings(values.set),
        seeds=values.seeds,
        out=values.out,
        workdirs=values.workdirs,
        keep_weights=values.weights,
        skip=Path(values.skip) if values.skip else None,
        stop=stop,
        budget=budget,
    )
    used_up = stop.is_set() and not stop.exit_status
    unfinished = any(run.unfinished for run in runs)
    if unfinished and not stop.exit_status:
        why = "The budget is used up" if used_up else "The others are in use by another command"
        print(f"{why}; rerun the same command to resume.", flush=True)
    if not stop.exit_status and any(run.state == "failed" for run in runs):
        sys.exit(1)
    if unfinished:
        raise Stopped  # with the status of the signal, or 0
