"""Inspects a data set and writes a page about it: `seqdigits inspect CONFIG [--config.key=value ...]`.

Exit status: 0 success, 2 a user error or a fault in the data, 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from absl import flags

from seqdigits.config.flags import config_file, experiment_flags, parse, with_config
from seqdigits.config_checks.validate import validate
from seqdigits.core.console import render_table
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_output
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.inspection import checks, page
from seqdigits.inspection.inspect import inspect
from seqdigits.inspection.statistics import LISTED, SplitStatistics

USAGE = """seqdigits inspect CONFIG [--config.key=value ...] [--split train,validation,test] [--limit N]
       [--out FOLDER_OR_FILE.html]"""


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_list("split", list(SPLITS), "the splits to inspect", flag_values=values)
    flags.DEFINE_integer(
        "limit",
        None,
        "number of examples of each split, the first ones",
        lower_bound=1,
        upper_bound=2**31 - 1,
        flag_values=values,
    )
    flags.DEFINE_string("out", "runs/inspect", "the page, FILE.html, or the folder of NAME.html", flag_values=values)
    return values


def main(stop: Stop) -> None:
    """Runs `seqdigits inspect`."""
    values = command_line()
    argv = with_config(sys.argv)
    parse(values, argv, USAGE, __doc__, needed=("config",))
    splits = tuple(dict.fromkeys(values["split"].value))
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"--split {split}: allowed are {', '.join(SPLITS)}.")
    if not splits:
        raise UserError(f"--split is empty. Allowed are {', '.join(SPLITS)}.")
    prepare_jax()

    config, name = values["config"].value, Path(config_file(argv).partition(":")[0]).stem
    validate(config)
    out = Path(values["out"].value)
    out = out if out.suffix == ".html" and not out.is_dir() else out / f"{name}.html"
    make_folder(out.parent, "--out")
    statistics = inspect(config, splits, values["limit"].value, stop)
    command = shlex.join(["seqdigits", "inspect", *sys.argv[1:]])
    write_output(out, page.html(name, config, statistics, command), "--out")
    print(f"{table(statistics)}\n\n{out}")
    if any(s.faults.total() for s in statistics):
        raise UserError(f"{faults(statistics)}\nThe page {out} shows some of them.")


def table(statistics: list[SplitStatistics]) -> str:
    """Returns the statistics of each split as text for standard output."""
    prints = {s.split: s.prints for s in statistics}
    copies = checks.copies(prints)
    rows = [
        ("examples", [f"{s.examples:,}" for s in statistics]),
        ("digits", [f"{s.digits.sum():,}" for s in statistics]),
        ("lengths", [_range(s) for s in statistics]),
        ("mean pixel", [f"{s.pixels[0]:.1f}" for s in statistics]),
        *((text, [f"{s.notes[kind]:,}" for s in statistics]) for kind, text in _NOTES.items()),
        *((f"images also in {b.split}", [f"{copies[a.split, b.split]:,}" for a in statistics]) for b in statistics),
        ("faults", [f"{s.faults.total():,}" for s in statistics]),
    ]
    return render_table(("", *(s.split for s in statistics)), ((name, *cells) for name, cells in rows))


_NOTES = {
    "over": "boxes over the edge",
    "unknown": "boxes not known",
    "disorder": "digits out of order",
    "plain": "images of one color",
}


def _range(statistics: SplitStatistics) -> str:
    present = statistics.lengths.nonzero()[0]
    return f"{present[0]} to {present[-1]}" if len(present) > 1 else f"{present[0]}"


def faults(statistics: list[SplitStatistics]) -> str:
    """Returns the number of faults of each kind, and the first 20."""
    lines = ["faults in the data:"]
    for kind, text in checks.FAULTS.items():
        number = {s.split: s.faults[kind] for s in statistics if s.faults[kind]}
        if number:
            lines.append(f"  {text}: " + ", ".join(f"{n:,} of {split}" for split, n in number.items()))
    listed = [fault for s in statistics for found in s.listed.values() for fault in found]
    lines += [f"  {f.split} {f.index}: {checks.FAULTS[f.kind]}: {f.detail}" for f in listed[:LISTED]]
    more = sum(s.faults.total() for s in statistics) - len(listed[:LISTED])
    return "\n".join([*lines, *([f"  and {more:,} more"] if more else [])])
