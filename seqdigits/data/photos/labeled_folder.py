"""Writes a new folder of labeled pictures: image files and labels.csv."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded, make_folder
from seqdigits.data.photos import labels


class LabelRow(NamedTuple):
    """A row of labels.csv.

    Attributes:
      image: path of the image within the folder.
      digits: i32 [n], 0..9; empty if there is no number.
      boxes: f64 [n, 4], of each digit, cxcywh in pixels.
      split: train, validation or test, in all rows or in none; "" = there is no such column.
    """

    image: str
    digits: np.ndarray
    boxes: np.ndarray
    split: str = ""


def check_new_folder(folder: Path) -> None:
    """Raises a UserError if the folder to be made exists and is not empty."""
    folder = expanded(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder. Name another one, or delete it.")


@contextlib.contextmanager
def new_labeled_folder(folder: Path) -> Iterator[tuple[Path, list[LabelRow]]]:
    """Makes a folder of labeled pictures, all of it or nothing.

    The caller writes the images into the temporary folder that it gets, and appends a row for each. At the end, labels.csv is
    written and the folder gets its name; after an exception it is deleted.

    Raises:
      UserError: the folder exists and is not empty, or cannot be written.
    """
    folder = expanded(folder).absolute()
    check_new_folder(folder)
    is_new = not folder.exists()
    within = folder.parent if is_new else folder
    make_folder(within, "FOLDER")
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name[:50]}.", suffix=".partial", dir=within))
    rows: list[LabelRow] = []
    try:
        partial.chmod(0o755)
        yield partial, rows
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        columns = 4 if any(row.split for row in rows) else 3
        writer.writerow(("image", "number", "boxes", "split")[:columns])
        cells = ((row.image, "".join(map(str, row.digits)), _boxes_text(row.boxes), row.split) for row in rows)
        writer.writerows(row[:columns] for row in cells)
        (partial / labels.NAME).write_text(table.getvalue())
        if is_new:
            os.replace(partial, folder)
        else:  # an empty folder stays the same one: it may be a mount point, a link, or where a shell is
            for file in sorted(partial.iterdir(), key=lambda file: file.name == labels.NAME):
                os.replace(file, folder / file.name)
    except OSError as e:
        raise UserError(f"{folder} cannot be written: {e.strerror or e}. Name another one, or free some space.") from e
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _boxes_text(boxes: np.ndarray) -> str:
    """Returns boxes cxcywh as a cell of labels.csv."""
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], 1)
    return ";".join(" ".join(f"{value:.1f}" for value in box) for box in corners.tolist())
