"""Writes all results as one page: `python -m seqdigits report [RESULTS [PAGE]]`."""

from __future__ import annotations

import sys
from pathlib import Path

from seqdigits.core.errors import Help, UserError
from seqdigits.core.files import write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.experiments.report import load_results, text

USAGE = "python -m seqdigits report [RESULTS [PAGE]]"


def main(stop: Stop) -> None:
    """Runs `seqdigits report`."""
    del stop  # it ends at once
    if {"--help", "-h"} & set(sys.argv):
        raise Help(f"usage: {USAGE}\n\nReads RESULTS/*.json (default results) and writes PAGE (default RESULTS.md).")
    if len(sys.argv) > 3 or any(a.startswith("-") for a in sys.argv[1:]):
        raise UserError(f"{' '.join(sys.argv[1:])!r} is not understood. usage: {USAGE}")
    folder, page = (Path(a) for a in (*sys.argv[1:], *("results", "RESULTS.md")[len(sys.argv) - 1 :]))
    results = load_results(folder)
    try:
        write_atomically(page, text(results))
    except OSError as e:
        raise UserError(f"{page} cannot be written: {e.strerror}. Name another page.") from e
    print(f"{page}: {len(results)} results of {folder}")
