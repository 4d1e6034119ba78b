"""Compares with off-the-shelf engines on labeled pictures: `seqdigits peers FOLDER ...`."""

from __future__ import annotations

from pathlib import Path

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.console import render_table
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.experiments import peers

USAGE = "seqdigits peers FOLDER ... [--engine NAME ...] [--only SUBFOLDER ...] [--limit N] [--out DIR] [--record NAME]"

RECORDS = Path("results/peers")
"""The folder of the files of --record."""


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__, "First run: make peers, and for EasyOCR make easyocr")
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of labeled pictures")
    parser.add_argument("--engine", action="append", choices=list(peers.ENGINES), help="only this engine; repeatable")
    parser.add_argument(
        "--only", action="append", default=[], metavar="SUBFOLDER", help="only this subfolder of FOLDER; repeatable"
    )
    parser.add_argument(
        "--limit", type=integer_from(1), metavar="N", help="number of pictures of each subfolder, the first ones"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/peers"),
        metavar="DIR",
        help="the folder of the answers and of the tables (default %(default)s)",
    )
    parser.add_argument(
        "--record",
        metavar="NAME",
        help="also writes results/peers/NAME.json, which seqdigits report lists in RESULTS.md",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits peers`."""
    values = command_line().parse_command_line()
    if values.record is not None and (not values.record or Path(values.record).name != values.record):
        raise UserError(f"--record {values.record!r}: a name without folders is allowed, such as photographs.")
    prepare_jax()
    found = peers.picture_sets(values.folders, values.only, values.limit)
    out = values.out
    make_folder(out, "--out")
    if values.record:
        peers.record_names(found.sets)
        make_folder(RECORDS, "--record")
    report = peers.run(found, out, {name: peers.ENGINES[name] for name in values.engine or peers.ENGINES}, stop)
    peers.write(report, out)
    if values.record:
        peers.record(report, RECORDS / f"{values.record}.json")
    print(f"\n{render_table(peers.COLUMNS, peers.rows(report), 'll' + 'r' * (len(peers.COLUMNS) - 2))}")
    print(f"\n{render_table(peers.ENGINE_COLUMNS, peers.engine_rows(report), 'llrrrrr')}\n")
    print("\n".join([*peers.notes(report), f"{out / 'peers.json'} and {out / 'peers.md'} are written."]))
