"""Photographs of your own, a folder of pictures with a `labels.csv` (see data/photos/labels.py): `python -m seqdigits check-photos FOLDER`
checks it, data.photographs = folder and data.folder = FOLDER train on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.core.errors import UserError, short
from seqdigits.core.progress import progress
from seqdigits.data.photos import labels
from seqdigits.data.photos.crop import DAMAGED, view_photo
from seqdigits.data.photos.labels import LONGEST, Row, rows


def chosen_rows(
    folder: str | Path,
    split: str,
    *,
    kind: str = "photograph",
    lengths: tuple[int, int] = (1, LONGEST),
    boxes: bool = False,
) -> tuple[Row, ...]:
    """The rows of a split in file order, if an experiment can use all of them. No picture is opened.

    Args:
      folder: with the pictures and `labels.csv`.
      split: train, validation or test.
      kind: one of crop.PHOTO_COMPOSITIONS; all but "photograph" need boxes.
      lengths: the fewest and the most digits; where each digit stands alone ("cropped_digit") any number will do.
      boxes: whether each row needs boxes anyway.

    Raises:
      UserError: there is none; a number is too short or too long, or has no boxes; see `labels.rows`.
    """
    everything = rows(folder)
    path = Path(folder) / labels.NAME
    those = tuple(row for row in everything if row.split == split)
    if not those:
        number = Counter(row.split for row in everything)
        raise UserError(
            f"{path} has no row for the split {split} ({', '.join(f'{number[s]} for {s}' for s in SPLITS)}). Write {split} "
            "into the column split of some rows; or leave that column out and have 10 rows at least. What a run is "
            "evaluated on at its end stands in evaluate.splits."
        )
    least, most = (1, LONGEST) if kind == "cropped_digit" else lengths
    there = {len(row.digits) for row in everything}  # of all splits, so that the cure cures them all
    if long := [row for row in those if len(row.digits) > most]:
        raise UserError(
            f"{path} has numbers of more than data.max_length = {most} digits in {labels.named(long)}. Set "
            f"data.max_length to {max(there)}, or take them out."
        )
    if small := [row for row in those if len(row.digits) < least]:
        raise UserError(
            f"{path} has numbers of fewer than data.min_length = {least} digits in {labels.named(small)}. Set "
            f"data.min_length to {min(there)}, or take them out."
        )
    if (boxes or kind != "photograph") and (bare := [row for row in those if row.boxes is None]):
        raise UserError(
            f"{path} has no boxes in {labels.named(bare)}. model.name = dense_detector, model.localize = True and "
            "data.composition = crop or cropped_digit need them in every row. Write them, or read whole photographs "
            "(data.composition = photograph) with another model.name and model.localize = False."
        )
    return those


def count(folder: str | Path, split: str, max_length: int, kind: str = "photograph") -> int:
    """Examples in a split: rows, or where each digit stands alone ("cropped_digit") digits. No picture is opened.

    Raises:
      UserError: see `chosen`.
    """
    those = chosen_rows(folder, split, kind=kind, lengths=(1, max_length))
    return sum(len(row.digits) for row in those) if kind == "cropped_digit" else len(those)


def photographs(folder: str | Path, split: str) -> Iterator[tuple[Row, Image.Image]]:
    """The rows of a split in file order, each with its `picture`; one is open at a time.

    Raises:
      UserError: see `labels.rows` and `picture`.
    """
    return ((row, picture(row)) for row in rows(folder) if row.split == split)


def picture(row: Row) -> Image.Image:
    """The picture of a row, "RGB", upright: boxes are in its pixels.

    Raises:
      UserError: it cannot be read, or a box is not in it.
    """
    try:
        with Image.open(row.image, formats=["PNG", "JPEG"]) as file:
            photo = ImageOps.exif_transpose(file)
            if photo.mode.startswith("I;16"):  # Pillow would make white of all but the darkest 256 of 65,536 grays
                photo = Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8))
            photo = photo.convert("RGB")
    except DAMAGED as e:
        raise UserError(f"{_where(row)} cannot be read as PNG or JPEG: {short(e)}") from e
    upright = f"the picture, which is {photo.width} pixels wide and {photo.height} high"
    for x, y, width, height in [] if row.boxes is None else row.boxes.tolist():
        left, top = x - width / 2, y - height / 2
        box = f"{_where(row)}: the box {left:g} {top:g} {width:g} {height:g}"
        if left >= photo.width or top >= photo.height or left + width <= 0 or top + height <= 0:
            raise UserError(f"{box} lies outside of {upright}")
        if width > 2 * photo.width or height > 2 * photo.height:
            raise UserError(f"{box} is more than twice as large as {upright}")
    return photo


def _where(row: Row) -> str:
    return f"{labels.NAME} line {row.line}: {row.image}"


def load(
    folder: str | Path, split: str, *, kind: str, height: int, width: int, gray: bool, max_length: int
) -> dict[str, np.ndarray]:
    """Reads one split, in order of row, and where each digit stands alone, digit.

    Args:
      folder, split: see `chosen`.
      kind: one of crop.PHOTO_COMPOSITIONS, see `view_photo`; "cropped_digit": each digit alone.
      height, width: of the images, in pixels.
      gray: one channel instead of three.
      max_length: no number has more digits; 1 where each digit stands alone.

    Returns:
      images: u8 [N, height, width, 1 or 3], 0..255.
      digits: i32 [N, max_length], 0..9, then NO_DIGIT.
      boxes: f32 [N, max_length, 4], of each digit, cxcywh in pixels of its image; zeros where NO_DIGIT, and in rows
        without boxes.

    Raises:
      UserError: see `chosen` and `picture`.
    """

    total, pictures = count(folder, split, max_length, kind), len(chosen_rows(folder, split))
    images = np.empty((total, height, width, 1 if gray else 3), np.uint8)  # may be gigabytes: filled in place
    digits = np.full((total, max_length), NO_DIGIT, np.int32)
    boxes = np.zeros((total, max_length, 4), np.float32)
    at = 0
    for row, photo in progress(photographs(folder, split), pictures, "photographs", folder):
        photo = photo.convert("L") if gray else photo
        known = np.zeros((len(row.digits), 4), np.float32) if row.boxes is None else row.boxes
        n = 1 if kind == "cropped_digit" else len(row.digits)
        for i in range(0, len(row.digits), n):
            pixels, boxes[at, :n] = view_photo(photo, known[i : i + n], kind, height, width, _where(row))
            images[at] = pixels.reshape(height, width, -1)
            digits[at, :n] = row.digits[i : i + n]
            at += 1
    return {"images": images, "digits": digits, "boxes": boxes}
