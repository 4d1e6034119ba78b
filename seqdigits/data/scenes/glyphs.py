"""Pictures of printed and written glyphs of some hundred free fonts, which come with the package.

`python -m seqdigits build-glyphs` draws them; FONTS.md lists the fonts and their licenses. No family of fonts is in
two splits, so what is tested is a shape of digits that was never trained on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import io
import json
import zipfile
import zlib
from importlib.resources.abc import Traversable
from typing import NamedTuple

import numpy as np

from seqdigits.core.errors import UserError

SIZE = 48  # of a picture; the tallest digit of a face is 32 pixels high
INK = 64  # a box is around the pixels of which at least a quarter is covered

# What is in the file, known without opening it: `build_atlas` prints these when it has drawn something else.
SHA256 = "eeab6eea2410274c886d6f22b227f155cf7a83c7aa52e7cc3091ffaec391fdd5"
FACES = {"train": 100, "validation": 10, "test": 10}
OTHERS = {"train": 2825, "validation": 313, "test": 302}

FILE: Traversable = importlib.resources.files("seqdigits.data.scenes") / "glyphs.npz"
_DAMAGED = (OSError, ValueError, LookupError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class GlyphSet(NamedTuple):
    """Glyphs of one split. Pictures are coverage, 0 = none, 255 = full ink; F faces, M letters and signs.

    In a picture the ink is centered at column 24, and the middle line of the face's digits is at row 24. All glyphs of a
    face are of one scale and on one baseline, but for a letter that would stick out, which is moved in.

    Attributes:
      digits: u8 [F, 10, 48, 48], in the order 0..9.
      digit_boxes: i32 [F, 10, 4], left, top, right, bottom (exclusive) of the ink.
      digit_advances: i32 [F, 10], pixels from where a digit begins to where the next one does.
      others: u8 [M, 48, 48], letters and signs, none of which looks like a digit.
      other_boxes: i32 [M, 4].
    """

    digits: np.ndarray
    digit_boxes: np.ndarray
    digit_advances: np.ndarray
    others: np.ndarray
    other_boxes: np.ndarray


class Face(NamedTuple):
    """A family in one weight and style; `license` is SPDX, `version` the package's."""

    family: str
    style: str
    package: str
    version: str
    license: str
    split: str


def load(split: str) -> GlyphSet:
    """The glyphs of one split of seqdigits.data.digits.SPLITS, faces in the order of `faces`.

    Raises:
      UserError: the file is damaged or missing.
    """
    arrays, known = _read()
    return _select(arrays, known, split)


def faces() -> list[Face]:
    """All faces, in the order of the file.

    Raises:
      UserError: the file is damaged or missing.
    """
    return list(_read()[1])


def count(data: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """How many faces, and how many letters and signs, each split of an atlas's bytes has."""
    arrays, known = parse(data)
    parts = {split: _select(arrays, known, split) for split in dict.fromkeys(face.split for face in known)}
    return (
        {split: len(part.digits) for split, part in parts.items()},
        {split: len(part.others) for split, part in parts.items()},
    )


def parse(data: bytes) -> tuple[dict[str, np.ndarray], list[Face]]:
    """What is inside the bytes of an atlas, of G glyphs face by face, each face's ten digits first.

    Returns:
      `images` u8 [G, 48, 48], `characters` u16 [G] (code points), `faces` i32 [G] (indices of the list), `boxes`
      i32 [G, 4], `advances` i32 [G]; and the faces.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in ("images", "characters", "faces", "boxes", "advances")}
        known = [Face(**face) for face in json.loads(file["about.json"].tobytes())["faces"]]
    return arrays, known


@functools.cache
def _read() -> tuple[dict[str, np.ndarray], list[Face]]:
    try:
        data = FILE.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != SHA256:
            raise ValueError(f"{len(data):,} bytes with SHA-256 {found[:12]}..., expected {SHA256[:12]}...")
        return parse(data)
    except _DAMAGED as e:
        raise UserError(
            f"{FILE}, the pictures of glyphs, is damaged: {e}. Install seqdigits anew, or draw them again with `make "
            "glyphs`, which is python -m seqdigits build-glyphs with the extra `fonts`."
        ) from e


def _select(arrays: dict[str, np.ndarray], known: list[Face], split: str) -> GlyphSet:
    inside = np.array([face.split == split for face in known])[arrays["faces"]]
    digit = (arrays["characters"] >= ord("0")) & (arrays["characters"] <= ord("9"))
    digits, others = inside & digit, inside & ~digit
    return GlyphSet(
        digits=arrays["images"][digits].reshape(-1, 10, SIZE, SIZE),
        digit_boxes=arrays["boxes"][digits].reshape(-1, 10, 4),
        digit_advances=arrays["advances"][digits].reshape(-1, 10),
        others=arrays["images"][others],
        other_boxes=arrays["boxes"][others],
    )
