"""Worker of GOCR, by its command line: one process for each picture."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import protocol

ARGUMENTS = ("-C", "0-9")
"""Of 80 house numbers pasted into backgrounds, 2 are read, 1 without them or with -a 80 or -m 4 too; of 100 handwritten
amounts none, also enlarged to a short side of 128 or 256 pixels."""


def load(_cores: int) -> protocol.Engine:
    """Finds GOCR."""
    program = shutil.which("gocr")
    if program is None:
        raise protocol.MissingError("gocr is not installed. Debian: apt-get install gocr")

    def read(picture: Any) -> list[protocol.Number]:
        return protocol.numbers_of(lines(protocol.output_of([program, *ARGUMENTS, "-f", "XML", "-"], picture)))

    return protocol.Engine(
        version=protocol.output_of([program, "-V"]).split("-")[0],
        settings={"arguments": " ".join(ARGUMENTS)},
        weights_bytes=Path(program).stat().st_size,
        threads=1,
        read=read,
    )


def lines(result: str) -> list[protocol.Text]:
    """Returns the lines of its XML, which is not always well formed: their digits, heights and mean weights.

    A character is `<box x="9" y="4" dx="30" dy="43" value="3" numac="1" weights="90" achars="3" />`.
    """
    texts = []
    for line in result.split("<line ")[1:]:
        boxes = re.findall(r'<box [^>]*\bdy="(\d+)" value="(\d)"[^>]*\bweights="(\d+)', line)
        if boxes:
            heights, digits, weights = zip(*boxes, strict=True)
            mean = sum(map(int, weights)) / (100 * len(boxes))
            texts.append(protocol.Text("".join(digits), float(max(map(int, heights))), mean))
    return texts


if __name__ == "__main__":
    protocol.serve(load)
