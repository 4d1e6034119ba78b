"""Labeled pictures to measure engines on: a folder with a `labels.csv` in one of two forms.

  image,number[,boxes][,split]        as of custom photos, see data/photos/labels.py
  filename,label[,note][,...]         as of collections; other columns are ignored

In both, an empty number means that the picture contains none. A row whose note contains UNCERTAIN is one whose label is
not sure.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded
from seqdigits.data.photos import labels

UNCERTAIN = "UNCERTAIN"
"""The word in a note that marks a label as not sure."""


class LabeledPicture(NamedTuple):
    """One picture and its label.

    Attributes:
      line: line number in `labels.csv`, from 1.
      path: the image file.
      name: its path within the folder.
      group: the first folder of `name`; "." if there is none.
      number: the digits in reading order; "" = there is no number in the picture.
      uncertain: whether the label is not sure.
      boxes: f32 [n, 4], of each digit, cxcywh in pixels of the upright image; None if unknown.
    """

    line: int
    path: Path
    name: str
    group: str
    number: str
    uncertain: bool
    boxes: np.ndarray | None


def labeled_pictures(folder: str | Path) -> tuple[LabeledPicture, ...]:
    """Returns all rows in file order; images are not opened.

    Raises:
      UserError: the file cannot be read, or lists the invalid lines with what is wrong and what is allowed.
    """
    folder = expanded(folder)
    seen: dict[Path, int] = {}

    def parse(line: int, columns: list[str], cells: list[str]) -> LabeledPicture:
        row = labels.parse_row(folder, line, columns, cells, seen, _COLLECTION if _is_collection(columns) else _PHOTOS)
        name = row.image.relative_to(folder)
        group = name.parts[0] if len(name.parts) > 1 else "."
        uncertain = UNCERTAIN in dict(zip(columns, cells, strict=True)).get("note", "")
        number = "".join(str(digit) for digit in row.digits.tolist())
        return LabeledPicture(line, row.image, name.as_posix(), group, number, uncertain, row.boxes)

    try:
        table = labels.read_table(folder / labels.NAME, _header_problem, parse)
    except OSError as e:
        raise UserError(
            f"{folder / labels.NAME} cannot be read: {e.strerror}. A folder of labeled pictures needs a file {labels.NAME} "
            f"with the columns {_FORMS}."
        ) from e
    if table.problems:
        raise labels.refusal(folder, table.problems, labels.MAX_LISTED)
    return tuple(table.rows)


_FORMS = "image and number (and optionally boxes and split), or filename and label"


def _is_collection(columns: list[str]) -> bool:
    return "filename" in columns or "label" in columns


def _header_problem(columns: list[str]) -> str:
    """Returns what is wrong with the names of the columns, or ""."""
    if not _is_collection(columns):
        problem = labels.header_problem(columns)
        return f"{problem}; or {_FORMS.rpartition('or ')[2]} with any others" if problem else ""
    problems = [f"missing column {name!r}" for name in ("filename", "label") if name not in columns]
    problems += [f"duplicate column {name!r}" for name in (*_COLLECTION, "note") if columns.count(name) > 1]
    return "; ".join([*problems, f"allowed are {_FORMS}"]) if problems else ""


def _parse_number(folder: Path, cell: str) -> np.ndarray:
    try:
        return labels.parse_number(folder, cell) if cell else np.zeros(0, np.int32)
    except ValueError as e:
        raise ValueError(f"{e}, or an empty cell for a picture without a number") from e


_PHOTOS: labels.Parsers = {**labels.COLUMNS, "number": ("number", _parse_number)}
_COLLECTION: labels.Parsers = {"filename": ("image", labels.parse_image), "label": ("number", _parse_number)}
