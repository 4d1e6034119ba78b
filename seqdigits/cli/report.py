"""Writes all results as one page: `seqdigits report [RESULTS [PAGE]]`."""

from __future__ import annotations

from pathlib import Path

from seqdigits.core.arguments import CommandParser
from seqdigits.core.files import write_output
from seqdigits.core.interrupt import Stop
from seqdigits.experiments.peer_table import peer_lines
from seqdigits.experiments.report import load_results, text

USAGE = "seqdigits report [RESULTS [PAGE]]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path("results"),
        metavar="RESULTS",
        help="the folder of the results, *.json (default %(default)s)",
    )
    parser.add_argument(
        "page",
        type=Path,
        nargs="?",
        default=Path("RESULTS.md"),
        metavar="PAGE",
        help="the page to write (default %(default)s)",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits report`."""
    del stop  # it ends at once
    values = command_line().parse_command_line()
    folder, page = values.results, values.page
    results = load_results(folder)
    peers = peer_lines(folder / "peers")
    write_output(page, text(results, peers), "PAGE")
    print(f"{page}: {len(results)} results of {folder}")
