"""Worker of GNU Ocrad, by its command line: one process for each picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import protocol

ARGUMENTS = ("--filter=numbers_only",)
"""Of 100 handwritten amounts, 3 are read as they are, 2 and 1 enlarged to a short side of 128 and 256 pixels, none with
--invert, 1 with --scale=2; of 80 house numbers pasted into backgrounds 1 or 2 in all of these."""

SMALLEST = 3
"""Sides of fewer pixels are too small for it."""


def load(_cores: int) -> protocol.Engine:
    """Finds Ocrad."""
    program = shutil.which("ocrad")
    if program is None:
        raise protocol.MissingError("ocrad is not installed. Debian: apt-get install ocrad")

    def read(picture: Any) -> list[protocol.Number]:
        if min(picture.shape[:2]) < SMALLEST:
            return []
        return protocol.numbers_of(lines(protocol.output_of([program, *ARGUMENTS, "-x", "-", "-"], picture)))

    return protocol.Engine(
        version=protocol.output_of([program, "--version"]).splitlines()[0].split()[-1],
        settings={"arguments": " ".join(ARGUMENTS)},
        weights_bytes=Path(program).stat().st_size,
        threads=1,
        read=read,
    )


def lines(result: str) -> list[protocol.Text]:
    """Returns the lines of an OCR results file.

    `line 1 chars 2 height 43` is followed by a line for each character with its place and its guesses, the best first, such
    as `99  41 30 43; 2, '3'1, '8'0`.
    """
    texts: list[protocol.Text] = []
    for line in result.splitlines():
        if line.startswith("line "):
            texts.append(protocol.Text("", float(line.split()[-1]), 0.5))
        elif texts and "; " in line and "'" in line:
            texts[-1] = texts[-1]._replace(text=texts[-1].text + line.split("'")[1])
    return texts


if __name__ == "__main__":
    protocol.serve(load)
