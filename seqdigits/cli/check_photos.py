"""Checks a folder of custom photos and its labels.csv: `seqdigits check-photos FOLDER`."""

from __future__ import annotations

import shlex
from collections import Counter

from seqdigits.core.arguments import CommandParser
from seqdigits.core.console import render_table
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos import labels
from seqdigits.data.photos.folder import chosen_rows, picture
from seqdigits.data.photos.labels import Row

USAGE = "seqdigits check-photos FOLDER"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__, labels.__doc__)
    parser.add_argument("folder", metavar="FOLDER", help=f"of the photos and {labels.NAME}")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits check-photos`."""
    print(check(command_line().parse_command_line().folder, stop))


def check(folder: str, stop: Stop) -> str:
    """Checks every line of `labels.csv` and opens every image; returns the counts as text.

    Raises:
      UserError: lists every problem.
      Stopped: `stop` was set.
    """
    found, problems = labels.read(folder)
    wrong = list(problems)
    for row in progress(iter(found), len(found), "photographs", folder):
        if stop.is_set():
            raise Stopped
        try:
            picture(row)
        except UserError as e:
            wrong.append((row.line, str(e).removeprefix(f"{labels.NAME} line {row.line}: ")))
    if wrong:
        raise labels.refusal(folder, sorted(wrong), len(wrong))
    return f"{table(found)}\n\n{_next(folder, found)}"


def table(found: tuple[Row, ...]) -> str:
    """Returns the counts of each split as text for standard output: photographs, those with boxes, those of each length, digits."""
    number: Counter[tuple[str, str]] = Counter()
    for row in found:
        names = ["photographs", f"of {len(row.digits)} digit(s)", *(f"digit {digit}" for digit in row.digits)]
        names += [] if row.boxes is None else ["with boxes"]
        number.update((name, row.split) for name in names)
    lengths = sorted({len(row.digits) for row in found})
    names = ["photographs", "with boxes", *(f"of {n} digit(s)" for n in lengths), *(f"digit {d}" for d in range(10))]
    return render_table(("", *SPLITS), ((name, *(f"{number[name, split]:,}" for split in SPLITS)) for name in names))


def _next(folder: str, found: tuple[Row, ...]) -> str:
    """Returns the command to train on the folder, or why that is not possible."""
    try:
        for split in SPLITS:
            chosen_rows(folder, split)
    except UserError as e:
        return f"No problems found. Training needs more: {e}"
    boxed = all(row.boxes is not None for row in found)
    config = "photograph_reader" if boxed else "svhn_transfer"
    flags = {"photographs": "folder", "folder": folder, "max_length": max(len(row.digits) for row in found)}
    command = ["python", "-m", "seqdigits.main", "--config", f"configs/{config}.py", "--workdir", "runs/custom"]
    command += [f"--config.data.{key}={value}" for key, value in flags.items()]
    how = (
        ""
        if boxed
        else " without boxes (with a box for each digit, far fewer photographs are needed, and no accelerator)"
    )
    return f"No problems found. To train{how}:\n  {shlex.join(command)}"
