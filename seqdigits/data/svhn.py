"""House numbers: the photographs of Street View House Numbers (Netzer et al. 2011), with a box around each digit.

The published archives hold PART/1.png, PART/2.png, .. and PART/digitStruct.mat, a MATLAB 7.3 file, which is HDF5. They
are for non-commercial use only, so nothing here downloads them.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
import shutil
import struct
import tarfile
import tempfile
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from seqdigits.batch import NO_DIGIT
from seqdigits.data.digits import data_folder
from seqdigits.errors import UserError

KINDS = ("photograph", "crop", "cropped_digit")
SUBFOLDER = "svhn_numbers"
MAT = "digitStruct.mat"
URL = "http://ufldl.stanford.edu/housenumbers"
ARCHIVE_BYTES = {"train": 404_141_560, "test": 276_555_967, "extra": 1_955_489_752}

MARGIN = 0.15
"""A crop is the hull of the digits' boxes made wider and higher by this share of it on each side."""

LARGEST = 10_000.0
"""No coordinate of a box is farther off than this many pixels: what says otherwise is damaged."""


@dataclass(frozen=True)
class PhotographSet:
    """How many photographs a set has, and how they are split; known without opening a file.

    Attributes:
      lengths: for each part of SVHN ("train", "test", "extra"), how many photographs have 1, 2, .. 6 digits. A part has
        photographs 1.png .. N.png, N their sum; what an archive holds beyond is not used.
      validation: how many photographs of a part are held out for validation; a part not named: none.
      validation_digits: the same where each digit is cut out and stands alone. Neighbours in one photograph may then
        be in different splits.
    """

    lengths: dict[str, tuple[int, ...]]
    validation: dict[str, int]
    validation_digits: dict[str, int]


PHOTOGRAPHS = {
    # Everything: 33,402 + 13,068 + 202,353. Counted in the annotations of train and test; extra is the published total
    # of all three (17,005, 98,212, 117,561, 15,918, 126, 1) less those.
    "svhn": PhotographSet(
        lengths={
            "train": (5_137, 18_130, 8_691, 1_434, 9, 1),
            "test": (2_483, 8_356, 2_081, 146, 2, 0),
            "extra": (9_385, 71_726, 106_789, 14_338, 115, 0),
        },
        validation={"train": 4_000, "extra": 2_000},
        validation_digits={"train": 4_000, "extra": 2_000},
    ),
    # The first 2,000 of train and the first 500 of test: not a random sample.
    "svhn_2000": PhotographSet(
        lengths={"train": (272, 1_110, 530, 88, 0, 0), "test": (104, 327, 63, 6, 0, 0), "extra": (0, 0, 0, 0, 0, 0)},
        validation={"train": 200},
        validation_digits={"train": 400},
    ),
}


class Annotation(NamedTuple):
    """What stands in one photograph.

    The digits are in the order in which the file lists them. It is by left edge, but for 8 of the 46,470 photographs of
    train and test. To order them by the x of their centres would change 43 (28 of train, 15 of test) and read them no
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


def held_out(n: int, h: int) -> np.ndarray:
    """Which of n are the h held out for validation, evenly spread: bool [n].

    >>> held_out(10, 3).astype(int).tolist()
    [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    >>> mask = held_out(33_402, 4_000)
    >>> int((~mask).sum()), int(mask.sum())
    (29402, 4000)
    """
    return np.diff(np.arange(n + 1, dtype=np.int64) * h // max(n, 1)) != 0


def count(name: str, parts: tuple[str, ...], split: str, max_length: int, single: bool) -> int:
    """Examples in a split, without opening a file.

    Args:
      name: a key of PHOTOGRAPHS.
      parts: "train", "extra" or both: what to train and validate on.
      split: "train": `parts` without what is held out, "validation": what is held out, "test": the part test.
      max_length: photographs of more digits are left out, before any are held out.
      single: whether each digit is cut out and an example of its own. Then `max_length` leaves nothing out.

    Raises:
      UserError: `parts` has something else.

    >>> [count("svhn", ("train",), s, 6, False) for s in ("train", "validation", "test")]
    [29402, 4000, 13068]
    >>> [count("svhn", ("train", "extra"), s, 5, False) for s in ("train", "validation", "test")]
    [229754, 6000, 13068]
    >>> [count("svhn", ("train",), s, 1, True) for s in ("train", "validation", "test")]
    [69257, 4000, 26032]
    >>> [count("svhn_2000", ("train",), s, 6, False) for s in ("train", "validation", "test")]
    [1800, 200, 500]
    """
    return sum(
        int(_chosen(name, part, split, _available(name, part, max_length, single), single).sum())
        for part in _parts(parts, split)
    )


def load(
    name: str,
    parts: tuple[str, ...],
    split: str,
    *,
    kind: str,
    height: int,
    width: int,
    grey: bool,
    max_length: int,
    folder: str,
) -> dict[str, np.ndarray]:
    """Reads one split: in order of part, photograph, and where each digit stands alone, digit.

    Args:
      name, parts, split, max_length: see `count`.
      kind: "photograph": the whole photograph, squeezed to height x width. "crop": the hull of the digits' boxes made
        30% wider and higher, 15% a side, clipped at the photograph's edge, squeezed alike. "cropped_digit": each digit
        alone, a square around the middle of its box, as large as the box's longer side, the photograph's edge pixels
        repeated where it reaches beyond.
      height, width: of the images, in pixels.
      grey: one channel instead of three.
      folder: where data files lie, these in its subfolder `svhn_numbers`: for each part either PART.tar.gz or what it
        unpacks to, the folder PART. "" = see `data_folder`.

    Returns:
      images: u8 [N, height, width, 1 or 3], 0..255.
      digits: i32 [N, max_length], 0..9, then NO_DIGIT; max_length is 1 where each digit stands alone.
      boxes: f32 [N, max_length, 4], of each digit, cxcywh in pixels of its image; zeros where NO_DIGIT.

    Raises:
      UserError: a file is missing or damaged, or holds fewer photographs than the set.
    """
    single = kind == "cropped_digit"
    length = 1 if single else max_length
    total = count(name, parts, split, max_length, single)
    images = np.empty((total, height, width, 1 if grey else 3), np.uint8)  # gigabytes: filled in place
    digits = np.full((total, length), NO_DIGIT, np.int32)
    boxes = np.zeros((total, length, 4), np.float32)
    begin = 0
    for part in _parts(parts, split):
        if not sum(PHOTOGRAPHS[name].lengths[part]):
            continue  # svhn_2000 has none of extra
        place = _place(data_folder(folder) / SUBFOLDER, part)
        examples = _examples(name, part, split, place, max_length, single)
        rows: dict[int, list[int]] = {}  # photograph -> its examples
        for row, example in enumerate(examples):
            rows.setdefault(example.number, []).append(row)
        for number, data in _progress(_photographs(place, part, rows.keys()), len(rows), "photographs", place):
            where = f"{part}/{number}.png in {place}"
            photo = _decode(data, grey, where)
            for row in rows[number]:
                example, at, n = examples[row], begin + row, len(examples[row].digits)
                pixels, boxes[at, :n] = _view(photo, example.boxes, kind, height, width, where)
                images[at] = pixels.reshape(height, width, -1)
                digits[at, :n] = example.digits
        begin += len(examples)
    assert begin == total  # `_annotations` has checked the numbers that `count` adds up
    return {"images": images, "digits": digits, "boxes": boxes}


# Which photographs


def _parts(parts: tuple[str, ...], split: str) -> tuple[str, ...]:
    if not parts or set(parts) - {"train", "extra"}:
        raise UserError(
            f"{parts} is not what house numbers can be learnt from; allowed are train, extra, or both. "
            "The part test is for the split test alone."
        )
    return ("test",) if split == "test" else parts


def _available(name: str, part: str, max_length: int, single: bool) -> int:
    """Photographs of a part that are not too long, or all its digits."""
    lengths = PHOTOGRAPHS[name].lengths[part]
    return sum(n * photographs for n, photographs in enumerate(lengths, 1)) if single else sum(lengths[:max_length])


def _chosen(name: str, part: str, split: str, n: int, single: bool) -> np.ndarray:
    """Which of a part's n examples are in a split: bool [n]."""
    held = PHOTOGRAPHS[name].validation_digits if single else PHOTOGRAPHS[name].validation
    mask = held_out(n, held.get(part, 0))
    return mask if split == "validation" else ~mask


def _examples(name: str, part: str, split: str, place: Path, max_length: int, single: bool) -> list[Annotation]:
    """What stands in each example of a split of one part. The examples of one photograph are neighbours."""
    everything = list(_annotations(place, part, PHOTOGRAPHS[name].lengths[part]))
    if single:
        everything = [
            Annotation(a.name, a.digits[i : i + 1], a.boxes[i : i + 1])
            for a in everything
            for i in range(len(a.digits))
        ]
    else:
        everything = [a for a in everything if len(a.digits) <= max_length]
    return list(itertools.compress(everything, _chosen(name, part, split, len(everything), single)))


@functools.lru_cache(maxsize=4)  # train and validation need the same one
def _annotations(place: Path, part: str, lengths: tuple[int, ...]) -> tuple[Annotation, ...]:
    """Photographs 1.png, 2.png, .. of a part, as many as `lengths` adds up to, and of those lengths."""
    wanted = sum(lengths)
    if place.is_dir():
        found = read_annotations(place / MAT, wanted)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            mat = Path(scratch) / MAT  # HDF5 is read at random, an archive cannot be
            _take_out(place, f"{part}/{MAT}", mat)
            found = read_annotations(mat, wanted, described=f"{part}/{MAT} in {place}")
    found.sort(key=lambda annotation: annotation.number)
    distinct = len({annotation.number for annotation in found})
    if distinct < wanted:
        raise _too_few(place, part, distinct, wanted)
    if len(found) > wanted:
        raise UserError(f"{MAT} of {place} names a photograph twice. {_again(place, part)}")
    counted = np.bincount([len(a.digits) for a in found], minlength=len(lengths) + 1)[1:].tolist()
    if counted != list(lengths):
        raise UserError(
            f"{place} is not SVHN's: of its first {wanted:,} photographs {counted} have 1, 2, .. digits, "
            f"expected {list(lengths)}. {_again(place, part)}"
        )
    return tuple(found)


# Annotations


def read_annotations(
    mat: Path | BinaryIO, photographs: int | None = None, *, described: str | None = None
) -> list[Annotation]:
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
        raise UserError(f"{described} is damaged or not SVHN's: {_short(e)}. Get the archive again from {URL}.") from e


_HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, UnicodeError)


def _read_entries(file: Any, photographs: int | None, described: str) -> list[Annotation]:
    """The entries of an open h5py.File."""
    names, boxes = (file[f"digitStruct/{field}"][()].ravel() for field in ("name", "bbox"))
    if len(names) != len(boxes):
        raise ValueError(f"{len(names):,} names, {len(boxes):,} boxes")
    reader = _Reader(file)
    result = []
    entries = enumerate(zip(names, boxes, strict=True), 1)
    for entry, (name_reference, box_reference) in _progress(entries, len(names), "entries", described):
        where = f"entry {entry:,}"
        try:
            name = reader.text(name_reference)
            if not re.fullmatch(r"[1-9][0-9]{0,8}\.png", name):
                raise ValueError(f"its name is {name[:50]!r}, expected N.png")
            where += f" ({name})"
            if photographs is None or int(name.removesuffix(".png")) <= photographs:
                result.append(Annotation(name, *reader.digits(box_reference)))
        except _HDF5_ERRORS as e:
            raise UserError(f"{described} is damaged: {where}: {_short(e)}. Get the archive again from {URL}.") from e
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


# Files


def _place(folder: Path, part: str) -> Path:
    """The unpacked folder of a part, or its archive."""
    unpacked, archive = folder / part, folder / f"{part}.tar.gz"
    if (unpacked / MAT).is_file():
        return unpacked
    if archive.is_file():
        return archive
    raise UserError(
        f"{archive} is missing, and {unpacked / MAT} too. Get {URL}/{part}.tar.gz ({ARCHIVE_BYTES[part]:,} bytes, for "
        f"non-commercial use only) and put it into {folder}, packed or unpacked. Another place: the environment "
        f"variable SEQDIGITS_DATA=DIR or --config.data.folder=DIR, with the file in DIR/{SUBFOLDER}."
    )


def _take_out(archive: Path, member: str, to: Path) -> None:
    """Writes one regular member of an archive to the file `to`."""
    with _reading(archive):
        for name, content in _members(archive):
            if name == member:
                with to.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                return
    raise UserError(f"{archive} holds no {member}. Get it again from {URL}.")


def _photographs(place: Path, part: str, wanted: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each wanted photograph, each once, in the order in which they lie.

    Raises:
      UserError: one is missing or cannot be read.
    """
    missing = set(wanted)
    files = _in_folder(place, wanted) if place.is_dir() else _in_archive(place, part)
    with _reading(place):
        for number, file in files:
            if number in missing:
                missing.remove(number)
                yield number, file.read()
            if not missing:
                return
    if missing:
        found = len(wanted) - len(missing)
        raise _too_few(place, part, found, len(wanted), f"; the first one missing is {part}/{min(missing)}.png")


def _in_folder(folder: Path, wanted: Collection[int]) -> Iterator[tuple[int, BinaryIO]]:
    for number in wanted:
        path = folder / f"{number}.png"
        if path.exists():
            with path.open("rb") as file:
                yield number, file


def _in_archive(archive: Path, part: str) -> Iterator[tuple[int, BinaryIO]]:
    for name, content in _members(archive):
        match = re.fullmatch(re.escape(part) + r"/([1-9][0-9]{0,8})\.png", name)
        if match:
            yield int(match[1]), content


def _members(archive: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Name and content of the regular files of a .tar.gz, each to be read before the next. No file is written, no link
    followed: a name is only ever compared."""
    with tarfile.open(archive, "r:gz") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would keep all 200,000
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content  # type: ignore[misc]  # IO[bytes] reads as a BinaryIO does


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, OSError) as e:
        raise UserError(
            f"{place} cannot be read: {_short(e)}. If it is cut off or damaged, get it again from {URL}."
        ) from e


def _decode(data: bytes, grey: bool, described: str) -> Image.Image:
    """A photograph, "L" or "RGB"."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as photo:
            return photo.convert("L" if grey else "RGB")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError) as e:
        raise UserError(f"{described} is damaged: {_short(e)}. Get the archive again from {URL}.") from e


def _too_few(place: Path, part: str, found: int, wanted: int, first: str = "") -> UserError:
    return UserError(
        f"{place} holds {found:,} of {wanted:,} photographs{first}. {_again(place, part)} With the first 2,000 of "
        "train and the first 500 of test alone, --config.data.photographs=svhn_2000 is the set."
    )


def _again(place: Path, part: str) -> str:
    return f"The whole archive is {URL}/{part}.tar.gz, {ARCHIVE_BYTES[part]:,} bytes."


def _short(e: Exception) -> str:
    return (str(e) or type(e).__name__)[:300]


Item = TypeVar("Item")


def _progress(items: Iterator[Item], total: int, what: str, where: Path | str) -> Iterator[Item]:
    """The items, and every 10 seconds a line about how many are done."""
    began = said = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - said > 10:
            said, rate = now, done / (now - began)
            print(
                f"{where}: {done:,} of {total:,} {what}, {rate:,.0f}/s, {(total - done) / rate:,.0f} s left",
                flush=True,
            )
        yield item


# Views


def _view(
    photo: Image.Image, boxes: np.ndarray, kind: str, height: int, width: int, described: str
) -> tuple[np.ndarray, np.ndarray]:
    """A window of a photograph as an image, u8 [height, width] or [height, width, 3], and the boxes in its pixels."""
    if kind == "cropped_digit":
        window = _square(boxes[0].tolist())
    elif kind == "crop":
        window = _hull(boxes.astype(np.float64), photo.size)
    else:
        window = (0.0, 0.0, float(photo.width), float(photo.height))
    left, top, right, bottom = window
    if not (left < right and top < bottom):
        raise UserError(f"{described}: the boxes of its digits have no area within the photograph")
    scale = np.array([width / (right - left), height / (bottom - top)])
    moved = np.concatenate([(boxes[:, :2] - [left, top]) * scale, boxes[:, 2:] * scale], axis=1)
    photo, window = _with_edges(photo, window)
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR, box=window)), moved


Window = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of a photograph."""


def _hull(boxes: np.ndarray, size: tuple[int, int]) -> Window:
    """Around all boxes, larger by MARGIN on each side, clipped to a photograph of `size` (width, height)."""
    low = (boxes[:, :2] - boxes[:, 2:] / 2).min(0)
    high = (boxes[:, :2] + boxes[:, 2:] / 2).max(0)
    margin = MARGIN * (high - low)
    left, top = np.maximum(low - margin, 0).tolist()
    right, bottom = np.minimum(high + margin, size).tolist()
    return left, top, right, bottom


def _square(box: list[float]) -> Window:
    """Around the middle of a box, its side the longer of the box's. It may reach beyond the photograph."""
    x, y, width, height = box
    half = max(width, height) / 2
    return x - half, y - half, x + half, y + half


def _with_edges(photo: Image.Image, window: Window) -> tuple[Image.Image, Window]:
    """The photograph made larger by repeating its edge pixels where the window reaches beyond; the window in it."""
    left, top, right, bottom = window
    x, y = min(math.floor(left), 0), min(math.floor(top), 0)
    columns = np.arange(x, max(math.ceil(right), photo.width))
    rows = np.arange(y, max(math.ceil(bottom), photo.height))
    if (len(columns), len(rows)) == photo.size:
        return photo, window
    inside = np.ix_(np.clip(rows, 0, photo.height - 1), np.clip(columns, 0, photo.width - 1))
    return Image.fromarray(np.asarray(photo)[inside]), (left - x, top - y, right - x, bottom - y)
