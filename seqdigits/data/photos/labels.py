"""`labels.csv` of a folder of your own photographs: what stands in each line, and what is wrong with it.

It is UTF-8 text, its cells separated by commas; its first line names the columns, in any order:

  image   a PNG or JPEG file, its path within the folder; each file once.
  number  its digits, such as 407; zeros in front count.
  boxes   (if wanted) of each digit, in the order of the number, "left top width height" in pixels, joined by ";"; an
          empty cell where they are not known. Pixels are those of the upright picture, as viewers show it: where a file
          says (EXIF) how the camera was held, the picture is turned first. A box may reach over the picture's edge.
  split   (if wanted) train, validation or test. Without the column one of each 10 rows is for validation, one for test
          and 8 for train, by a fixed lot: rows added at the end leave those before where they are.
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
from typing import Any, NamedTuple

import numpy as np

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError

NAME = "labels.csv"
LONGEST = 100
"""No number has more digits."""
FARTHEST = 100_000.0
"""No box begins farther off, or is larger, than so many pixels."""
_SHOWN = 20  # lines that a message names


class Row(NamedTuple):
    """One line.

    Attributes:
      line: its number in the file, from 1.
      image: the picture's file.
      digits: i32 [n], 0..9.
      boxes: f32 [n, 4], of each digit, cxcywh in pixels of the upright picture; None where they are not known.
      split: train, validation or test.
    """

    line: int
    image: Path
    digits: np.ndarray
    boxes: np.ndarray | None
    split: str


Problem = tuple[int, str]
"""The number of a line, and what is wrong with it."""


def rows(folder: str | Path) -> tuple[Row, ...]:
    """All rows in file order. The file is read once, and again when it has changed; pictures are not opened.

    Raises:
      UserError: names every bad line (20 at most, then how many more), with what is wrong and what is allowed.
    """
    found, problems = read(folder)
    if problems:
        raise refusal(folder, problems, _SHOWN)
    return found


def read(folder: str | Path) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    """The good rows and the bad lines, both in file order.

    Raises:
      UserError: the file cannot be read at all.
    """
    path = Path(folder).expanduser() / NAME
    try:
        about = path.stat()
        return _parse(path, about.st_mtime_ns, about.st_size)
    except OSError as e:
        raise UserError(
            f"{path} cannot be read: {e.strerror}. A folder of your own photographs has a file {NAME} with the columns "
            "image and number, and if wanted boxes and split; README.md shows one."
        ) from e


def refusal(folder: str | Path, problems: Sequence[Problem], most: int) -> UserError:
    """The error that names the first `most` problems."""
    shown = [f"\n  {NAME} line {line}: {wrong}" for line, wrong in problems[:most]]
    more = f"\n  and {len(problems) - most} more" if len(problems) > most else ""
    return UserError(f"{Path(folder) / NAME}: {len(problems)} to mend{''.join(shown)}{more}")


def named(those: Sequence[Row]) -> str:
    """The lines of some rows, for a message: the first 20, then how many more."""
    more = f" and {len(those) - _SHOWN} more" if len(those) > _SHOWN else ""
    return f"{NAME} {'line' if len(those) == 1 else 'lines'} {', '.join(str(row.line) for row in those[:_SHOWN])}{more}"


@functools.lru_cache(maxsize=4)
def _parse(path: Path, mtime: int, size: int) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    del mtime, size  # a file that has changed is another one to the cache
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content[: e.start].count(b"\n") + 1
        return (), ((line, f"{content[e.start : e.end]!r} is not UTF-8; allowed is CSV in UTF-8"),)
    found: list[Row] = []
    problems: list[Problem] = []
    columns: list[str] = []
    seen: dict[Path, int] = {}
    reader = csv.reader(io.StringIO(text, newline=None), strict=True, skipinitialspace=True)
    line = 1  # where the next row begins; one with a line break in quotation marks has several
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not columns and cells:
                columns, wrong = stripped, _wrong_columns(stripped)
                if wrong:
                    return (), ((line, wrong),)
            elif cells:
                try:
                    found.append(_row(path.parent, line, columns, stripped, seen))
                except ValueError as e:
                    problems.append((line, str(e)))
            line = reader.line_num + 1
    except csv.Error as e:
        problems.append((line, f"{e}; is a quotation mark not closed?"))
    if not found and not problems:
        problems.append((line, "there is no row" if columns else _wrong_columns([])))
    if "split" not in columns:
        found = [row._replace(split=_drawn_split(i)) for i, row in enumerate(found)]
    return tuple(found), tuple(problems)


def _drawn_split(i: int) -> str:
    """The split of row i, counted from 0: of rows 0..9, 10..19, .. one each for validation and for test.

    Which one is drawn anew for each ten, for numbers may be listed in an order that repeats; from a digest, which is the
    same everywhere.

    >>> [[i for i in range(50) if _drawn_split(i) == split] for split in ("validation", "test")]
    [[5, 17, 22, 38, 45], [8, 16, 20, 36, 43]]
    """
    tens, place = divmod(i, 10)
    lot = hashlib.sha256(str(tens).encode()).digest()
    validation = lot[0] % 10
    test = (validation + 1 + lot[1] % 9) % 10
    return "validation" if place == validation else "test" if place == test else "train"


def _wrong_columns(columns: list[str]) -> str:
    """What is wrong with the names of the columns; "" for nothing."""
    wrongs = {
        "there is no column": [name for name in ("image", "number") if name not in columns],
        "not known is the column": [name for name in columns if name not in _CELLS],
        "there twice is the column": [name for name, times in Counter(columns).items() if times > 1],
    }
    said = [f"{what} {', '.join(map(repr, names))}" for what, names in wrongs.items() if names]
    allowed = "allowed are image, number, and if wanted boxes and split, separated by commas"
    return "; ".join([*said, allowed]) if said else ""


def _row(folder: Path, line: int, columns: list[str], cells: list[str], seen: dict[Path, int]) -> Row:
    """A row; its split is "" where there is no such column.

    `seen`: the images of the lines before, with their lines; this one is added.

    Raises:
      ValueError: all that is wrong with it.
    """
    if len(cells) != len(columns):
        raise ValueError(f"it has {len(cells)} cells; allowed are {len(columns)}, {', '.join(columns)}")
    values: dict[str, Any] = {"image": None, "number": None, "boxes": None, "split": ""}
    wrongs = []
    for column, cell in zip(columns, cells, strict=True):
        try:
            values[column] = _CELLS[column](folder, cell)
        except ValueError as e:
            wrongs.append(f"{column} {cell[:60]!r}: {e}")
    image, digits, boxes = (values[column] for column in ("image", "number", "boxes"))
    if image and seen.setdefault(image, line) != line:
        wrongs.append(f"the image stands in line {seen[image]} too; allowed is one line for each")
    if digits is not None and boxes is not None and len(boxes) != len(digits):
        wrongs.append(f"boxes are {len(boxes)}, digits {len(digits)}; allowed are as many boxes as digits, or none")
    if wrongs:
        raise ValueError("; ".join(wrongs))
    return Row(line, image, digits, boxes, values["split"])


def _image(folder: Path, cell: str) -> Path:
    path = PurePath(cell)  # "./1.png" becomes "1.png"
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("it leads out of the folder; allowed are paths within it, such as images/1.png")
    if not os.path.isfile(folder / path):  # false, too, for a name that no file can have
        raise ValueError(f"there is no such file in {folder}")
    return folder / path


def _number(folder: Path, cell: str) -> np.ndarray:
    if not re.fullmatch(f"[0-9]{{1,{LONGEST}}}", cell):
        raise ValueError(f"allowed are 1 to {LONGEST} digits, each 0 to 9, such as 407")
    return np.array([int(digit) for digit in cell], np.int32)


def _boxes(folder: Path, cell: str) -> np.ndarray | None:
    if not cell:
        return None
    try:
        boxes = np.array([[float(value) for value in box.split()] for box in cell.split(";")])
    except ValueError:  # not numbers, or not as many in each
        boxes = np.empty((0, 0))
    within = (np.abs(boxes) < FARTHEST).all()  # false for NaN too
    if boxes.shape[1:] != (4,) or not within or not (boxes[:, 2:] >= 1).all():  # less are shares of the picture
        raise ValueError(
            'allowed is "left top width height" in pixels for each digit, joined by ";", such as 12 4 10 18;25 5 9 18, '
            "width and height 1 at least"
        )
    boxes[:, :2] += boxes[:, 2:] / 2
    return boxes.astype(np.float32)


def _split(folder: Path, cell: str) -> str:
    if cell not in SPLITS:
        raise ValueError(f"allowed are {', '.join(SPLITS)}")
    return cell


_CELLS: dict[str, Callable[[Path, str], Any]] = {"image": _image, "number": _number, "boxes": _boxes, "split": _split}
"""What each column may hold: (folder, cell) -> its value, or a ValueError that says what is allowed."""
