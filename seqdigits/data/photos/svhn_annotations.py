"""Reads the annotations of house numbers from digitStruct.mat, a MATLAB 7.3 file, which is HDF5."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from seqdigits.core.errors import UserError, short
from seqdigits.core.progress import progress

MAX_COORDINATE = 10_000.0
"""Upper bound, in pixels, of the coordinates of boxes: files with larger values are damaged."""


class Annotation(NamedTuple):
    """The digits of one photograph and their boxes.

    The digits are in the order of the file. It is sorted by left edge, except in 8 of the 46,470 photographs of train
    and test. Sorting by the x of the centers would change 43 photographs (28 of train, 15 of test) and not improve the
    labels. 30 of the 43 are columns read from top to bottom, where neither order is meaningful (48 of all 89 columns are
    not listed from top to bottom). In 9, boxes overlap, as in 262.png of train, which shows 24 and is listed as 2 4 1;
    by x it would be 1 2 4. In 4, judging by the boxes, sorting by x may be correct. For steep numbers (57.png of train,
    288.png of test), both orders are the reading order.

    Attributes:
      name: file name, N.png.
      digits: i32 [n], 0..9.
      boxes: f32 [n, 4], cxcywh in pixels of the photograph, as published: some have a negative left or top edge or extend
        beyond the photograph.
    """

    name: str
    digits: np.ndarray
    boxes: np.ndarray

    @property
    def number(self) -> int:
        """The number N in the file name N.png."""
        return int(self.name.removesuffix(".png"))


def read(mat: Path | BinaryIO, photographs: int | None = None, *, described: str | None = None) -> list[Annotation]:
    """Reads a digitStruct.mat.

    Args:
      mat: path of the file, or the opened file.
      photographs: skip N.png with a larger N; None = no limit.
      described: name of the file in messages; None = its path.

    Returns:
      One annotation for each photograph, in file order.

    Raises:
      UserError: the file is damaged, or not of this kind.
    """
    import h5py  # needed for photographs only

    described = described or str(mat)
    try:
        with h5py.File(mat, "r") as file:
            return _read_entries(file, photographs, described)
    except _HDF5_ERRORS as e:
        raise UserError(f"{described} is damaged or not SVHN's: {short(e)}. Download the archive again.") from e


_MAX_ENTRIES, _MAX_TEXT, _MAX_DIGITS = 1_000_000, 100, 1_000
"""Upper bounds of the sizes that a file may announce; memory is allocated for them before they are read."""


def _check_size(shape: tuple[int, ...], most: int) -> None:
    if math.prod(shape) > most:
        raise ValueError(f"it has the shape {shape}, at most {most:,} elements are allowed")


_HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, UnicodeError)


def _read_entries(file: Any, photographs: int | None, described: str) -> list[Annotation]:
    """Returns the annotations of an open h5py.File."""
    datasets = [file[f"digitStruct/{field}"] for field in ("name", "bbox")]
    for dataset in datasets:
        _check_size(dataset.shape, _MAX_ENTRIES)
    names, boxes = (dataset[()].ravel() for dataset in datasets)
    if len(names) != len(boxes):
        raise ValueError(f"{len(names):,} names, {len(boxes):,} boxes")
    reader = _Reader(file)
    result = []
    entries = enumerate(zip(names, boxes, strict=True), 1)
    for entry, (name_reference, box_reference) in progress(entries, len(names), "entries", described):
        where = f"entry {entry:,}"
        try:
            name = reader.text(name_reference)
            if not re.fullmatch(r"[1-9][0-9]{0,8}\.png", name):
                raise ValueError(f"its name is {name[:50]!r}, expected N.png")
            where += f" ({name})"
            if photographs is None or int(name.removesuffix(".png")) <= photographs:
                result.append(Annotation(name, *reader.digits(box_reference)))
        except _HDF5_ERRORS as e:
            raise UserError(f"{described} is damaged: {where}: {short(e)}. Download the archive again.") from e
    return result


class _Reader:
    """Resolves the references of one open file.

    It uses the low-level interface of h5py, because 33,402 entries are 575,000 small objects, and the high-level
    interface takes several times as long to open each.
    """

    def __init__(self, file: Any):
        import h5py

        self._h5py = h5py
        self._file = file.id
        self._one = h5py.h5s.create_simple((1, 1))
        self._number = np.empty((1, 1), np.float64)

    def text(self, reference: Any) -> str:
        """Decodes a MATLAB char array, which has UTF-16 code units."""
        dataset = self._open(reference, self._h5py.h5d.DatasetID)
        _check_size(dataset.shape, _MAX_TEXT)
        units = np.empty(dataset.shape, "<u2")
        dataset.read(self._h5py.h5s.ALL, self._h5py.h5s.ALL, units, self._h5py.h5t.STD_U16LE)
        return units.tobytes().decode("utf-16-le")

    def digits(self, reference: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns the digits i32 [n] and boxes f32 [n, 4] of one photograph."""
        group = self._open(reference, self._h5py.h5g.GroupID)
        label, left, top, width, height = (
            self._numbers(group, field) for field in (b"label", b"left", b"top", b"width", b"height")
        )
        if not 0 < len(label) == len(left) == len(top) == len(width) == len(height):
            raise ValueError("there is no digit, or the fields differ in length")
        if not set(label) <= _LABELS:
            raise ValueError(f"labels {label}, allowed are 1..10")
        corners = np.array([left, top, width, height]).T
        if not (np.abs(corners) < MAX_COORDINATE).all():  # false for NaN too
            raise ValueError(f"boxes {corners.tolist()} (left, top, width, height)")
        corners[:, :2] += corners[:, 2:] / 2
        return np.array(label, np.int32) % 10, corners.astype(np.float32)  # 10 stands for the digit 0

    def _numbers(self, group: Any, field: bytes) -> list[float]:
        """Returns one field of all digits, which is stored as a number for one digit, else as references."""
        dataset = self._h5py.h5d.open(group, field)
        if dataset.get_type().get_class() != self._h5py.h5t.REFERENCE:
            return [self._scalar(dataset)]
        _check_size(dataset.shape, _MAX_DIGITS)
        references = np.empty(dataset.shape, self._h5py.ref_dtype)
        dataset.read(self._h5py.h5s.ALL, self._h5py.h5s.ALL, references)
        return [self._scalar(self._open(r, self._h5py.h5d.DatasetID)) for r in references.ravel()]

    def _scalar(self, dataset: Any) -> float:
        # With a selection of one number, HDF5 refuses larger datasets; with ALL it would write past the array's end.
        dataset.read(self._one, self._h5py.h5s.ALL, self._number, self._h5py.h5t.NATIVE_DOUBLE)
        return float(self._number[0, 0])

    def _open(self, reference: Any, kind: type) -> Any:
        target = self._h5py.h5r.dereference(reference, self._file)
        if not isinstance(target, kind):
            raise TypeError(f"a reference leads to a {type(target).__name__}, expected {kind.__name__}")
        return target


_LABELS = frozenset(range(1, 11))
