"""What is read in a picture, as lines of text, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from typing import Any

from seqdigits.inference.reader import Box, Number, Result

CSV_HEADER = "path,number,confidence,left,top,width,height"
"""The first line of CSV."""


def text_line(path: str | None, result: Result) -> str:
    """Returns the numbers, best first, separated by spaces; the path and a tab precede them if it is not None."""
    numbers = " ".join(number.number for number in result.numbers)
    return numbers if path is None else f"{one_line(path)}\t{numbers}"


def json_line(path: str, result: Result, all_numbers: bool) -> str:
    """Returns an object with the path and the best number, and if `all_numbers`, all of them as "numbers"."""
    best: Mapping[str, Any] = {"number": None, "confidence": 0.0, "box": None, "digits": []}
    numbers = [_fields(number) for number in result.numbers]
    fields = {"path": path, **(numbers[0] if numbers else best)}
    return json.dumps({**fields, "numbers": numbers} if all_numbers else fields)


def csv_lines(path: str, result: Result) -> str:
    """Returns a line with the columns of CSV_HEADER for each number, or one without a number."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerows(
        [path, number.number, _confidence(number.confidence), *_box(number.box)] for number in result.numbers
    )
    if not result.numbers:
        writer.writerow([path, "", 0.0, "", "", "", ""])
    return lines.getvalue().removesuffix("\n")


def one_line(text: str) -> str:
    r"""Returns a text with its control characters as escapes: a path may contain a line break or a tab.

    >>> print(one_line("a\n.png"))
    a\n.png
    """
    return re.sub(r"[\0-\x1f\x7f]", lambda found: repr(found[0])[1:-1], text)


def _fields(number: Number) -> dict[str, Any]:
    return {
        "number": number.number,
        "confidence": _confidence(number.confidence),
        "box": _box(number.box),
        "digits": [
            {"digit": digit.digit, "confidence": _confidence(digit.confidence), "box": _box(digit.box)}
            for digit in number.digits
        ],
    }


def _confidence(value: float) -> float:
    return round(float(value), 4)


def _box(box: Box) -> list[float]:
    return [round(float(value), 1) for value in box]
