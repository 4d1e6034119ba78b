"""House numbers: the photographs of Street View House Numbers (Netzer et al. 2011), with a box around each digit.

The published archives contain PART/1.png, PART/2.png, .. and PART/digitStruct.mat, a MATLAB 7.3 file, which is HDF5.
They are for non-commercial use only, so this package does not download them. The TFDS builder `svhn_numbers` can.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.files import data_folder
from seqdigits.core.progress import progress
from seqdigits.data.photos import svhn_annotations, svhn_archive, unlabeled
from seqdigits.data.photos.crop import NO_BOXES, crop_photo
from seqdigits.data.photos.svhn_annotations import Annotation


@dataclass(frozen=True)
class PhotographSet:
    """The sizes and the splits of a set of photographs, known without opening a file.

    Attributes:
      lengths: for each part of SVHN ("train", "test", "extra"), the number of photographs with 1, 2, .. 6 digits. A part
        has photographs 1.png .. N.png with N their sum; further photographs in an archive are not used.
      validation: number of photographs of each part held out for validation; parts not listed have none.
      validation_digits: number of digits of each part held out for validation where each digit is an example. Digits of
        one photograph may then be in different splits.
    """

    lengths: dict[str, tuple[int, ...]]
    validation: dict[str, int]
    validation_digits: dict[str, int]


PHOTOGRAPHS = {
    # All photographs: 33,402 + 13,068 + 202,353. Train and test are counted in the annotations; extra is the published
    # total of all three (17,005, 98,212, 117,561, 15,918, 126, 1) minus train and test.
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


def held_out(n: int, h: int) -> np.ndarray:
    """Returns the mask bool [n] of the h of n examples held out for validation, evenly spaced.

    >>> held_out(10, 3).astype(int).tolist()
    [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    >>> mask = held_out(33_402, 4_000)
    >>> int((~mask).sum()), int(mask.sum())
    (29402, 4000)
    """
    return np.diff(np.arange(n + 1, dtype=np.int64) * h // max(n, 1)) != 0


def count(name: str, parts: tuple[str, ...], split: str, max_length: int, single: bool) -> int:
    """Returns the number of examples in a split, without opening a file.

    Args:
      name: a key of PHOTOGRAPHS.
      parts: the parts to train and validate on: "train", "extra" or both.
      split: "train": `parts` without the held out examples, "validation": the held out examples, "test": the part test.
      max_length: photographs with more digits are excluded, before any are held out.
      single: whether each digit is an example. `max_length` then excludes nothing.

    Raises:
      UserError: `parts` is empty or contains another part.

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
    gray: bool,
    max_length: int,
    folder: str,
    most: int = 0,
    mask_unlabeled: bool = False,
) -> dict[str, np.ndarray]:
    """Loads one split, in order of part, photograph and, for "cropped_digit", digit.

    Args:
      name: see `count`.
      parts: see `count`.
      split: see `count`.
      kind: one of crop.PHOTO_COMPOSITIONS, see `crop_photo`; with "cropped_digit", each digit is an example.
      height: height of the images, in pixels.
      width: width of the images, in pixels.
      gray: whether to return one channel instead of three.
      max_length: see `count`.
      folder: folder of data files. Its subfolder `svhn_numbers` has for each part either PART.tar.gz or the folder PART
        that it unpacks to. "" = see `data_folder`.
      most: load only the first examples, so many of them; 0 = all.
      mask_unlabeled: whether to return `ignored` too.

    Returns:
      images: u8 [N, height, width, 1 or 3], 0..255.
      digits: i32 [N, max_length], 0..9, then NO_DIGIT; max_length is 1 for "cropped_digit".
      boxes: f32 [N, max_length, 4], of each digit, cxcywh in pixels of its image; zeros where NO_DIGIT.
      ignored: f32 [N, unlabeled.MAX_FOUND, 4], digits that the labels leave out, cxcywh in pixels of its image; zeros where
        there are fewer.

    Raises:
      UserError: a file is missing or damaged, or has fewer photographs than the set.
    """
    single = kind == "cropped_digit"
    length = 1 if single else max_length
    total = count(name, parts, split, max_length, single)
    total = min(most or total, total)
    images = np.empty((total, height, width, 1 if gray else 3), np.uint8)  # gigabytes, so filled in place
    digits = np.full((total, length), NO_DIGIT, np.int32)
    boxes = np.zeros((total, length, 4), np.float32)
    ignored = np.zeros((total, unlabeled.MAX_FOUND, 4), np.float32)
    listed = unlabeled.load() if mask_unlabeled else {}
    begin = 0
    for part in _parts(parts, split):
        if not sum(PHOTOGRAPHS[name].lengths[part]) or begin == total:
            continue  # svhn_2000 has none of extra
        place = svhn_archive.place(data_folder(folder) / svhn_archive.SUBFOLDER, part)
        examples = annotations_of(name, part, split, place, max_length, single)[: total - begin]
        rows: dict[int, list[int]] = {}  # photograph -> its examples
        for row, example in enumerate(examples):
            rows.setdefault(example.number, []).append(row)
        for number, data in progress(
            svhn_archive.photographs(place, part, rows.keys()), len(rows), "photographs", place
        ):
            where = f"{part}/{number}.png in {place}"
            photo = svhn_archive.decode_image(data, gray, where)
            for row in rows[number]:
                example, at, n = examples[row], begin + row, len(examples[row].digits)
                further = listed.get(number, NO_BOXES) if part == "train" else NO_BOXES
                pixels, moved = crop_photo(photo, example.boxes, kind, height, width, where, further)
                boxes[at, :n], ignored[at, : len(further)] = moved[:n], moved[n:]
                images[at] = pixels.reshape(height, width, -1)
                digits[at, :n] = example.digits
        begin += len(examples)
    assert begin == total  # `read_annotations` has checked the numbers that `count` adds up
    return {"images": images, "digits": digits, "boxes": boxes, **({"ignored": ignored} if mask_unlabeled else {})}


def examples(
    name: str, parts: tuple[str, ...], split: str, max_length: int, lengths: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the index of each photograph in a split, as in `load`.

    Args:
      name: see `count`.
      parts: see `count`.
      split: see `count`.
      max_length: see `count`.
      lengths: for each part the number of digits in photographs 1.png, 2.png, .., i32 [n].

    Returns:
      For each part of the split i32 [n], -1 for photographs that are not in the split.
    """
    result, begin = {}, 0
    for part in _parts(parts, split):
        short = np.flatnonzero(lengths[part] <= max_length) if part in lengths else np.zeros(0, np.int64)
        chosen = short[_chosen(name, part, split, len(short), single=False)]
        result[part] = np.full(len(lengths.get(part, ())), -1, np.int32)
        result[part][chosen] = begin + np.arange(len(chosen))
        begin += len(chosen)
    return result


def _parts(parts: tuple[str, ...], split: str) -> tuple[str, ...]:
    if not parts or set(parts) - {"train", "extra"}:
        raise UserError(
            f"data.parts = {parts} is not allowed with house numbers: allowed are train, extra, or both. "
            "The part test is used for the split test only."
        )
    return ("test",) if split == "test" else parts


def _available(name: str, part: str, max_length: int, single: bool) -> int:
    """Returns the number of a part's photographs with at most `max_length` digits, or of all its digits."""
    lengths = PHOTOGRAPHS[name].lengths[part]
    return sum(n * photographs for n, photographs in enumerate(lengths, 1)) if single else sum(lengths[:max_length])


def _chosen(name: str, part: str, split: str, n: int, single: bool) -> np.ndarray:
    """Returns the mask bool [n] of a part's n examples that are in a split."""
    held = PHOTOGRAPHS[name].validation_digits if single else PHOTOGRAPHS[name].validation
    mask = held_out(n, held.get(part, 0))
    return mask if split == "validation" else ~mask


def annotations_of(name: str, part: str, split: str, place: Path, max_length: int, single: bool) -> list[Annotation]:
    """Returns the annotations of the examples of a split in one part. Examples of a photograph are consecutive."""
    annotations = list(read_annotations(place, part, PHOTOGRAPHS[name].lengths[part]))
    if single:
        annotations = [
            Annotation(a.name, a.digits[i : i + 1], a.boxes[i : i + 1])
            for a in annotations
            for i in range(len(a.digits))
        ]
    else:
        annotations = [a for a in annotations if len(a.digits) <= max_length]
    return list(itertools.compress(annotations, _chosen(name, part, split, len(annotations), single)))


@functools.lru_cache(maxsize=4)  # train and validation are from the same part
def read_annotations(place: Path, part: str, lengths: tuple[int, ...]) -> tuple[Annotation, ...]:
    """Reads the annotations of photographs 1.png, 2.png, .. of a part.

    Args:
      place: path of the part's files; see svhn_archive.place.
      part: train, test or extra.
      lengths: the expected number of photographs with 1, 2, .. digits.

    Raises:
      UserError: the file is missing or damaged, or the numbers of photographs differ from `lengths`.
    """
    wanted = sum(lengths)
    if place.is_dir():
        annotations = svhn_annotations.read(place / svhn_archive.MAT, wanted)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            mat = Path(scratch) / svhn_archive.MAT  # HDF5 needs random access
            svhn_archive.extract_member(place, f"{part}/{svhn_archive.MAT}", mat)
            annotations = svhn_annotations.read(mat, wanted, described=f"{part}/{svhn_archive.MAT} in {place}")
    annotations.sort(key=lambda annotation: annotation.number)
    distinct = len({annotation.number for annotation in annotations})
    if distinct < wanted:
        raise svhn_archive.too_few_photographs(place, part, distinct, wanted)
    if len(annotations) > wanted:
        raise UserError(f"{svhn_archive.MAT} of {place} lists a photograph twice. {svhn_archive.download_hint(part)}")
    counted = np.bincount([len(a.digits) for a in annotations], minlength=len(lengths) + 1)[1:].tolist()
    if counted != list(lengths):
        raise UserError(
            f"{place} is not SVHN's: {counted} of its first {wanted:,} photographs have 1, 2, .. digits, "
            f"expected {list(lengths)}. {svhn_archive.download_hint(part)}"
        )
    return tuple(annotations)
