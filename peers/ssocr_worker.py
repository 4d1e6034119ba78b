"""Worker of ssocr, which reads seven-segment displays, by its command line: one process for each picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import protocol

ARGUMENTS = ("-d", "-1", "-c", "digits", "-T")
"""Any number of digits, and nothing but digits. It expects a picture that shows the display alone: of the first 60
validation pictures of `seqdigits draw-displays`, displays on their devices, it reads none, with these arguments, without -T or with
-b black."""

STATUSES = (0, 1, 2)
"""All digits were read; another number of them was found; some were not read, which it prints as "_"."""


def load(_cores: int) -> protocol.Engine:
    """Finds ssocr."""
    program = shutil.which("ssocr")
    if program is None:
        raise protocol.MissingError("ssocr is not installed. Debian: apt-get install ssocr")

    def read(picture: Any) -> list[protocol.Number]:
        return number(protocol.output_of([program, *ARGUMENTS, "-"], picture, STATUSES))

    return protocol.Engine(
        version=protocol.output_of([program, "-V"], statuses=(42,)).split("\n")[0].split()[-1],
        settings={"arguments": " ".join(ARGUMENTS)},
        weights_bytes=Path(program).stat().st_size,
        threads=1,
        read=read,
    )


def number(result: str) -> list[protocol.Number]:
    """Returns the number that it prints; none if a digit was not read, "_"."""
    return [] if "_" in result else protocol.numbers_of([protocol.Text(result, 1.0, 0.5)])


if __name__ == "__main__":
    protocol.serve(load)
