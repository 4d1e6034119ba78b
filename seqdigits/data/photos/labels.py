"""The format of `labels.csv`, the labels of a folder of custom photos.

The file is comma-separated UTF-8 text. The first line names the columns, in any order:

  image   path of a PNG or JPEG file within the folder; each file once.
  number  the digits in the image, such as 407; leading zeros count.
  boxes   (optional) the box of each digit, in the order of the number: "left top width height" in pixels, joined by ";".
          The cell is empty if the boxes are unknown. Pixels are those of the upright image, as viewers show it: an image
          with an EXIF orientation is rotated first. A box may extend beyond the edge of the image.
  split   (optional) train, validation or test. Without this column, of every 10 rows 8 are for train, 1 for validation
          and 1 for test, at random but always the same. Adding rows at the end does not change the split of the others.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded

NAME = "labels.csv"
MAX_DIGITS = 100
"""Maximum number of digits in a number."""
MAX_COORDINATE = 100_000.0
"""Upper bound, in pixels, of the coordinates and sizes of boxes."""
MAX_LISTED = 20
"""Maximum number of lines listed in a message."""


class Row(NamedTuple):
    """One row of the file.

    Attributes:
      line: line number in the file, from 1.
      image: path of the image file.
      digits: i32 [n], 0..9.
      boxes: f32 [n, 4], of each digit, cxcywh in pixels of the upright image; None if unknown.
      split: train, validation or test.
    """

    line: int
    image: Path
    digits: np.ndarray
    boxes: np.ndarray | None
    split: str


Problem = tuple[int, str]
"""A line number, and the error in that line."""
Parsers = dict[str, tuple[str, Callable[[Path, str], Any]]]
"""By column: the field that it holds, and its parser: (folder, cell) -> value, or ValueError with what is allowed."""


def rows(folder: str | Path) -> tuple[Row, ...]:
    """Returns all rows in file order. The file is parsed again only if it has changed; images are not opened.

    Raises:
      UserError: lists the invalid lines (at most 20, then the number of others), with what is wrong and what is allowed.
    """
    valid, problems = read(folder)
    if problems:
        raise refusal(folder, problems, MAX_LISTED)
    return valid


def read(folder: str | Path) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    """Returns the valid rows and the invalid lines, both in file order.

    Raises:
      UserError: the file cannot be read.
    """
    path = expanded(folder) / NAME
    try:
        stat = path.stat()
        valid, problems = _parse(path, stat.st_mtime_ns, stat.st_size)
    except OSError as e:
        raise UserError(
            f"{path} cannot be read: {e.strerror}. A folder of custom photos needs a file {NAME} with the columns image "
            "and number, and optionally boxes and split; seqdigits check-photos --help documents them."
        ) from e
    if problems:
        _parse.cache_clear()  # what is missing may be there the next time
    return valid, problems


def refusal(folder: str | Path, problems: Sequence[Problem], max_count: int) -> UserError:
    """Returns the error that lists the first `max_count` problems."""
    listed = [f"\n  {NAME} line {line}: {problem}" for line, problem in problems[:max_count]]
    more = f"\n  and {len(problems) - max_count} more" if len(problems) > max_count else ""
    return UserError(f"{Path(folder) / NAME}: {len(problems)} to fix{''.join(listed)}{more}")


def line_list(rows: Sequence[Row]) -> str:
    """Returns the line numbers of rows for a message: the first 20, then the number of others."""
    more = f" and {len(rows) - MAX_LISTED} more" if len(rows) > MAX_LISTED else ""
    return (
        f"{NAME} {'line' if len(rows) == 1 else 'lines'} {', '.join(str(row.line) for row in rows[:MAX_LISTED])}{more}"
    )


@functools.lru_cache(maxsize=4)
def _parse(path: Path, mtime: int, size: int) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    del mtime, size  # they are part of the cache key, so that a changed file is parsed again
    seen: dict[Path, int] = {}
    table = read_table(
        path, header_problem, lambda line, columns, cells: parse_row(path.parent, line, columns, cells, seen, COLUMNS)
    )
    valid = table.rows
    if "split" not in table.columns:
        valid = [row._replace(split=_random_split(i)) for i, row in enumerate(valid)]
    return tuple(valid), tuple(table.problems)


Parsed = TypeVar("Parsed")


class Table(NamedTuple, Generic[Parsed]):
    """The content of a CSV file: the names of its columns, the parsed rows and the invalid lines, in file order."""

    columns: list[str]
    rows: list[Parsed]
    problems: list[Problem]


def read_table(
    path: Path,
    header_problem: Callable[[list[str]], str],
    parse_row: Callable[[int, list[str], list[str]], Parsed],
) -> Table[Parsed]:
    """Reads a CSV file in UTF-8, whose first line names the columns.

    Args:
      path: the file.
      header_problem: returns what is wrong with the names of the columns, or "".
      parse_row: (line number, names of the columns, cells without outer spaces) -> the row, or ValueError with what is
        wrong. The number of cells may differ from that of columns.

    Raises:
      OSError: the file cannot be read.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = e.object[: e.start].count(b"\n") + 1  # without the byte-order mark
        return Table([], [], [(line, f"{e.object[e.start : e.end]!r} is not UTF-8; allowed is CSV in UTF-8")])
    valid: list[Parsed] = []
    problems: list[Problem] = []
    columns: list[str] = []
    reader = csv.reader(io.StringIO(text, newline=None), strict=True, skipinitialspace=True)
    line = 1  # first line of the next row; a quoted line break makes a row span several lines
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not columns and cells:
                columns, problem = stripped, header_problem(stripped)
                if problem:
                    return Table(columns, [], [(line, problem)])
            elif cells:
                try:
                    valid.append(parse_row(line, columns, stripped))
                except ValueError as e:
                    problems.append((line, str(e)))
            line = reader.line_num + 1
    except csv.Error as e:
        problems.append((line, f"{e}; is a quotation mark not closed?"))
    if not valid and not problems:
        problems.append((line, "there is no row" if columns else header_problem([])))
    return Table(columns, valid, problems)


def _random_split(i: int) -> str:
    """Returns the split of row i, from 0. Of rows 0..9, 10..19, .. one each is for validation and for test.

    It is sampled for each ten rows, because numbers may be listed in a periodic order. The source of randomness is a
    digest, which is the same on every machine.

    >>> [[i for i in range(50) if _random_split(i) == split] for split in ("validation", "test")]
    [[5, 17, 22, 38, 45], [8, 16, 20, 36, 43]]
    """
    tens, place = divmod(i, 10)
    digest = hashlib.sha256(str(tens).encode()).digest()
    validation = digest[0] % 10
    test = (validation + 1 + digest[1] % 9) % 10
    return "validation" if place == validation else "test" if place == test else "train"


def header_problem(columns: list[str]) -> str:
    """Returns what is wrong with the names of the columns of a folder of custom photos, or ""."""
    checks = {
        "missing column": [name for name in ("image", "number") if name not in columns],
        "unknown column": [name for name in columns if name not in COLUMNS],
        "duplicate column": [name for name, times in Counter(columns).items() if times > 1],
    }
    problems = [f"{problem} {', '.join(map(repr, names))}" for problem, names in checks.items() if names]
    allowed = "allowed are image, number, and optionally boxes and split, separated by commas"
    return "; ".join([*problems, allowed]) if problems else ""


def parse_row(
    folder: Path, line: int, columns: list[str], cells: list[str], seen: dict[Path, int], parsers: Parsers
) -> Row:
    """Parses a row; its split is "" if there is no such column.

    Args:
      folder: folder of the image files.
      line: line number of the row.
      columns: names of the columns.
      cells: content of the cells.
      seen: images of the previous rows, with their line numbers; this row's image is added.
      parsers: the field of Row that each column holds, and its parser; columns without one are ignored.

    Raises:
      ValueError: lists everything that is wrong with the row.
    """
    if len(cells) != len(columns):
        raise ValueError(f"it has {len(cells)} cells; allowed are {len(columns)}: {', '.join(columns)}")
    values: dict[str, Any] = {"image": None, "number": None, "boxes": None, "split": ""}
    problems = []
    for column, cell in zip(columns, cells, strict=True):
        try:
            if column in parsers:
                field, parse = parsers[column]
                values[field] = parse(folder, cell)
        except ValueError as e:
            problems.append(f"{column} {cell[:60]!r}: {e}")
    image, digits, boxes = (values[column] for column in ("image", "number", "boxes"))
    if image and seen.setdefault(image, line) != line:
        problems.append(f"the image is also in line {seen[image]}; allowed is one line per image")
    if digits is not None and boxes is not None and len(boxes) != len(digits):
        problems.append(
            f"{len(boxes)} box(es) for {len(digits)} digit(s); allowed is one box per digit, or an empty cell"
        )
    if problems:
        raise ValueError("; ".join(problems))
    return Row(line, image, digits, boxes, values["split"])


def parse_image(folder: Path, cell: str) -> Path:
    """Returns the path of an existing file within the folder, or raises ValueError."""
    path = PurePath(cell)  # "./1.png" becomes "1.png"
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("the path leaves the folder; allowed are paths within it, such as images/1.png")
    if not os.path.isfile(folder / path):  # also False for invalid file names
        raise ValueError(f"there is no such file in {folder}")
    return folder / path


def parse_number(_folder: Path, cell: str) -> np.ndarray:
    """Returns the digits of a number, i32 [n], or raises ValueError."""
    if not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", cell):
        raise ValueError(f"allowed are 1 to {MAX_DIGITS} digits, each 0 to 9, such as 407")
    return np.array([int(digit) for digit in cell], np.int32)


def _boxes(_folder: Path, cell: str) -> np.ndarray | None:
    if not cell:
        return None
    try:
        boxes = np.array([[float(value) for value in box.split()] for box in cell.split(";")])
    except ValueError:  # not numbers, or a different count in each box
        boxes = np.empty((0, 0))
    within = (np.abs(boxes) < MAX_COORDINATE).all()  # false for NaN too
    if (
        boxes.shape[1:] != (4,) or not within or not (boxes[:, 2:] >= 1).all()
    ):  # below 1, they may be fractions of the image
        raise ValueError(
            'allowed is "left top width height" in pixels for each digit, joined by ";", such as 12 4 10 18;25 5 9 18, '
            "with width and height at least 1"
        )
    boxes[:, :2] += boxes[:, 2:] / 2
    return boxes.astype(np.float32)


def _split(_folder: Path, cell: str) -> str:
    if cell not in SPLITS:
        raise ValueError(f"allowed are {', '.join(SPLITS)}")
    return cell


COLUMNS: Parsers = {
    "image": ("image", parse_image),
    "number": ("number", parse_number),
    "boxes": ("boxes", _boxes),
    "split": ("split", _split),
}
"""The columns of a folder of custom photos."""
