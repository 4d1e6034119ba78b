"""Custom photos: a folder of image files with a `labels.csv`, whose format is described in data/photos/labels.py.

`seqdigits check-photos FOLDER` checks a folder. To train on it, set data.photographs = folder and
data.folder = FOLDER.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.progress import progress
from seqdigits.data.photos import labels
from seqdigits.data.photos.crop import crop_photo
from seqdigits.data.photos.labels import MAX_DIGITS, Row, rows
from seqdigits.data.photos.picture_files import open_picture


def chosen_rows(
    folder: str | Path,
    split: str,
    *,
    kind: str = "photograph",
    lengths: tuple[int, int] = (1, MAX_DIGITS),
    boxes: bool = False,
    most: int = 0,
) -> tuple[Row, ...]:
    """Returns the rows of a split in file order, after checking that the experiment can use all of the split.

    No image file is opened.

    Args:
      folder: folder of the image files and `labels.csv`.
      split: train, validation or test.
      kind: one of crop.PHOTO_COMPOSITIONS; all except "photograph" need boxes.
      lengths: minimum and maximum number of digits; not checked for "cropped_digit", where each digit is an example.
      boxes: whether boxes are needed in every row regardless of `kind`.
      most: number of rows to return, see `drawn`.

    Raises:
      UserError: the split has no rows; a number is too short or too long, or has no boxes; see `labels.rows`.
    """
    all_rows = rows(folder)
    path = Path(folder) / labels.NAME
    chosen = tuple(row for row in all_rows if row.split == split)
    if not chosen:
        number = Counter(row.split for row in all_rows)
        raise UserError(
            f"{path} has no row for the split {split} ({', '.join(f'{number[s]} for {s}' for s in SPLITS)}). Set the "
            f"column split of some rows to {split}, or remove the column and provide at least 10 rows. evaluate.splits "
            "names the splits that are evaluated at the end of a run."
        )
    min_length, max_length = (1, MAX_DIGITS) if kind == "cropped_digit" else lengths
    present = {len(row.digits) for row in all_rows}  # of all splits, so that one change fixes them all
    if too_long := [row for row in chosen if len(row.digits) > max_length]:
        raise UserError(
            f"{path} has numbers of more than data.max_length = {max_length} digits in {labels.line_list(too_long)}. Set "
            f"data.max_length to {max(present)}, or remove these rows."
        )
    if too_short := [row for row in chosen if len(row.digits) < min_length]:
        raise UserError(
            f"{path} has numbers of fewer than data.min_length = {min_length} digits in {labels.line_list(too_short)}. Set "
            f"data.min_length to {min(present)}, or remove these rows."
        )
    if (boxes or kind != "photograph") and (without_boxes := [row for row in chosen if row.boxes is None]):
        raise UserError(
            f"{path} has no boxes in {labels.line_list(without_boxes)}. model.name = dense_detector, model.localize = True, "
            "data.pasted > 0 and data.composition = crop or cropped_digit need boxes in every row. Add them, or use complete "
            "photographs (data.composition = photograph) with data.pasted = 0, another model.name and model.localize = False."
        )
    return drawn(chosen, most)


def drawn(chosen: tuple[Row, ...], most: int) -> tuple[Row, ...]:
    """Returns `most` of the rows in their order, at random but always the same; all if there are no more, or if it is 0.

    The rows of a smaller number are among those of a larger one. They are drawn because a file may be sorted. The source of
    randomness is a digest of the line, which is the same on every machine.
    """
    if not most:
        return chosen
    ranked = sorted(chosen, key=lambda row: hashlib.sha256(f"drawn {row.line}".encode()).digest())
    return tuple(sorted(ranked[:most], key=lambda row: row.line))


def count(folder: str | Path, split: str, max_length: int, kind: str = "photograph", most: int = 0) -> int:
    """Returns the number of examples in a split: its rows, or its digits if `kind` is "cropped_digit".

    No image file is opened. `most` is that of `chosen_rows`.

    Raises:
      UserError: see `chosen_rows`.
    """
    chosen = chosen_rows(folder, split, kind=kind, lengths=(1, max_length), most=most)
    return sum(len(row.digits) for row in chosen) if kind == "cropped_digit" else len(chosen)


def photographs(folder: str | Path, split: str, most: int = 0) -> Iterator[tuple[Row, Image.Image]]:
    """Returns an iterator over the rows of a split in file order, each with its `picture`; one is open at a time.

    `most` is that of `drawn`.

    Raises:
      UserError: see `labels.rows` and `picture`.
    """
    chosen = drawn(tuple(row for row in rows(folder) if row.split == split), most)
    return ((row, picture(row)) for row in chosen)


def picture(row: Row) -> Image.Image:
    """Opens the image file of a row.

    Returns:
      The image, see `open_picture`. Boxes are in its pixels.

    Raises:
      UserError: the file cannot be read, or a box is outside of the image.
    """
    try:
        photo = open_picture(row.image)
    except UserError as e:
        raise UserError(f"{labels.NAME} line {row.line}: {e}") from e
    upright = f"the upright image, which is {photo.width} pixels wide and {photo.height} high"
    for x, y, width, height in [] if row.boxes is None else row.boxes.tolist():
        left, top = x - width / 2, y - height / 2
        box = f"{_where(row)}: the box {left:g} {top:g} {width:g} {height:g}"
        if left >= photo.width or top >= photo.height or left + width <= 0 or top + height <= 0:
            raise UserError(f"{box} is outside of {upright}")
        if width > 2 * photo.width or height > 2 * photo.height:
            raise UserError(f"{box} is more than twice as large as {upright}")
    return photo


def _where(row: Row) -> str:
    return f"{labels.NAME} line {row.line}: {row.image}"


def load(
    folder: str | Path,
    split: str,
    *,
    kind: str,
    height: int,
    width: int,
    gray: bool,
    max_length: int,
    most: int = 0,
) -> dict[str, np.ndarray]:
    """Loads one split, in order of rows (and of digits within a row, for "cropped_digit").

    Args:
      folder: see `chosen_rows`.
      split: see `chosen_rows`.
      kind: one of crop.PHOTO_COMPOSITIONS, see `crop_photo`; with "cropped_digit", each digit is an example.
      height: height of the images, in pixels.
      width: width of the images, in pixels.
      gray: whether to return one channel instead of three.
      max_length: maximum number of digits; 1 for "cropped_digit".
      most: see `chosen_rows`.

    Returns:
      images: u8 [N, height, width, 1 or 3], 0..255.
      digits: i32 [N, max_length], 0..9, then NO_DIGIT.
      boxes: f32 [N, max_length, 4], of each digit, cxcywh in pixels of its image; zeros where NO_DIGIT, and in rows
        without boxes.

    Raises:
      UserError: see `chosen_rows` and `picture`.
    """
    total, pictures = count(folder, split, max_length, kind, most), len(chosen_rows(folder, split, most=most))
    images = np.empty((total, height, width, 1 if gray else 3), np.uint8)  # may be gigabytes, so filled in place
    digits = np.full((total, max_length), NO_DIGIT, np.int32)
    boxes = np.zeros((total, max_length, 4), np.float32)
    at = 0
    for row, photo in progress(photographs(folder, split, most), pictures, "photographs", folder):
        photo = photo.convert("L") if gray else photo
        known = np.zeros((len(row.digits), 4), np.float32) if row.boxes is None else row.boxes
        n = 1 if kind == "cropped_digit" else len(row.digits)
        for i in range(0, len(row.digits), n):
            pixels, boxes[at, :n] = crop_photo(photo, known[i : i + n], kind, height, width, _where(row))
            images[at] = pixels.reshape(height, width, -1)
            digits[at, :n] = row.digits[i : i + n]
            at += 1
    return {"images": images, "digits": digits, "boxes": boxes}
