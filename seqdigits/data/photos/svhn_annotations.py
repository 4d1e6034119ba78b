"""digitStruct.mat of the house numbers: what stands in each photograph. A MATLAB 7.3 file, which is HDF5."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from seqdigits.core.errors import UserError, short
from seqdigits.core.progress import progress

LARGEST = 10_000.0
"""No coordinate of a box is farther off than this many pixels: what says otherwise is damaged."""


class Annotation(NamedTuple):
    """What stands in one photograph.

    The digits are in the order in which the file lists them. It is by left edge, but for 8 of the 46,470 photographs of
    train and test. To order them by the x of their centers would change 43 (28 of train, 15 of test) and read them no
    better: 30 of the 43 are columns, to be read downwards, where neither order means anything (48 of all 89 columns are
    not listed downwards); in 9 one box lies on another, as in 262.png of train, which shows 24 and is listed 2 4 1, by
    x 1 2 4; in 4, by their boxes, x may be right. Where a number climbs steeply (57.png of train, 288.png of test),
    both orders are what one reads.

    Attributes:
      name: N.png.
      digits: i32 [n], 0..9.
      boxes: f32 [n, 4], cxcywh in pixels of the photograph, as published: some begin at a negative x or y or reach
        beyond the photograph's edge.
    """

    name: str
    digits: np.ndarray
    boxes: np.ndarray

    @property
    def number(self) -> int:
        """N of N.png."""
        return int(self.name.removesuffix(".png"))


def read(mat: Path | BinaryIO, photographs: int | None = None, *, described: str | None = None) -> list[Annotation]:
    """Reads a digitStruct.mat.

    Args:
      mat: the file, by name or opened.
      photographs: leave out N.png with a larger N; None: all.
      described: what messages call the file, if not by its name.

    Returns:
      One for each photograph, in file order.

    Raises:
      UserError: the file is damaged, or not of this kind.
    """
    import h5py  # only who reads photographs needs it

    described = described or str(mat)
    try:
        with h5py.File(mat, "r") as file:
            return _read_entries(file, photographs, described)
    except _HDF5_ERRORS as e:
        raise UserError(f"{described} is damaged or not SVHN's: {short(e)}. Get the archive again.") from e


_HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, UnicodeError)


def _read_entries(file: Any, photographs: int | None, described: str) -> list[Annotation]:
    """The entries of an open h5py.File."""
    names, boxes = (file[f"digitStruct/{field}"][()].ravel() for field in ("name", "bbox"))
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
            raise UserError(f"{described} is damaged: {where}: {short(e)}. Get the archive again.") from e
    return result


class _Reader:
    """Follows the references of one open file.

    It uses h5py's low-level interface: 33,402 entries are 575,000 small objects, and the high-level one takes several
    times as long to open each.
    """

    def __init__(self, file: Any):
        import h5py

        self._h5py = h5py
        self._file = file.id
        self._one = h5py.h5s.create_simple((1, 1))
        self._number = np.empty((1, 1), np.float64)

    def text(self, reference: Any) -> str:
        """MATLAB's char array: UTF-16 code units."""
        dataset = self._open(reference, self._h5py.h5d.DatasetID)
        units = np.empty(dataset.shape, "<u2")
        dataset.read(self._h5py.h5s.ALL, self._h5py.h5s.ALL, units, self._h5py.h5t.STD_U16LE)
        return units.tobytes().decode("utf-16-le")

    def digits(self, reference: Any) -> tuple[np.ndarray, np.ndarray]:
        """The digits i32 [n] and boxes f32 [n, 4] of one photograph."""
        group = self._open(reference, self._h5py.h5g.GroupID)
        label, left, top, width, height = (
            self._numbers(group, field) for field in (b"label", b"left", b"top", b"width", b"height")
        )
        if not 0 < len(label) == len(left) == len(top) == len(width) == len(height):
            raise ValueError("no digit, or not all fields have as many")
        if not set(label) <= _LABELS:
            raise ValueError(f"labels {label}, allowed are 1..10")
        corners = np.array([left, top, width, height]).T
        if not (np.abs(corners) < LARGEST).all():  # false for NaN too
            raise ValueError(f"boxes {corners.tolist()} (left, top, width, height)")
        corners[:, :2] += corners[:, 2:] / 2
        return np.array(label, np.int32) % 10, corners.astype(np.float32)  # 10 stands for the digit 0

    def _numbers(self, group: Any, field: bytes) -> list[float]:
        """One field of all digits: a number itself where there is one digit, else a reference to each."""
        dataset = self._h5py.h5d.open(group, field)
        if dataset.get_type().get_class() != self._h5py.h5t.REFERENCE:
            return [self._scalar(dataset)]
        references = np.empty(dataset.shape, self._h5py.ref_dtype)
        dataset.read(self._h5py.h5s.ALL, self._h5py.h5s.ALL, references)
        return [self._scalar(self._open(r, self._h5py.h5d.DatasetID)) for r in references.ravel()]

    def _scalar(self, dataset: Any) -> float:
        # Told to fill one number, HDF5 refuses a dataset of more; with ALL it would write past the array's end.
        dataset.read(self._one, self._h5py.h5s.ALL, self._number, self._h5py.h5t.NATIVE_DOUBLE)
        return float(self._number[0, 0])

    def _open(self, reference: Any, kind: type) -> Any:
        found = self._h5py.h5r.dereference(reference, self._file)
        if not isinstance(found, kind):
            raise TypeError(f"a reference leads to a {type(found).__name__}, expected {kind.__name__}")
        return found


_LABELS = frozenset(range(1, 11))
