"""Images of glyphs of hundreds of faces of free fonts, which are part of the package.

`seqdigits build-glyphs` draws them; FONTS.md lists the fonts and their licenses. No font family is in two splits, so the digit shapes of the test
set are never in the training set. One of validation is nearly in it: iA Writer Mono is a fork of IBM Plex Mono.
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

SIZE = 48  # of an image, pixels; the tallest digit of a face is 32 pixels high
MIN_COVERAGE = 64  # a box encloses the pixels of which at least a quarter is covered


FILE: Traversable = importlib.resources.files("seqdigits.data.scenes") / "glyphs.npz"
# `build-glyphs` prints the new values of the next three if they change. With the counts, sizes are known without opening it.
SHA256 = "e6ffae6f27ddcb8ec8e6784be5757e86e041d1c58000805464f85ba32eb805ff"
FACES = {"train": 424, "validation": 53, "test": 49}
"""The number of faces by split."""
OTHERS = {"train": 9083, "validation": 1138, "test": 1021}
"""The number of letters and signs by split."""

_DAMAGED = (OSError, ValueError, LookupError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class GlyphSet(NamedTuple):
    """The glyphs of one split: F faces, M letters and signs.

    Images hold the coverage of each pixel, 0 = none, 255 = full. The covered pixels of an image are centered at column
    24, and the vertical center of the face's digits is at row 24. All glyphs of a face have one scale and one baseline;
    only a letter that would extend beyond the image is moved vertically to fit.

    Attributes:
      digits: u8 [F, 10, 48, 48], in the order 0..9.
      digit_boxes: i32 [F, 10, 4], left, top, right, bottom (exclusive) of the pixels with MIN_COVERAGE or more.
      digit_advances: i32 [F, 10], pixels from the origin of a digit to that of the next glyph.
      others: u8 [M, 48, 48], letters and signs, none of which resembles a digit.
      other_boxes: i32 [M, 4], as `digit_boxes`.
    """

    digits: np.ndarray
    digit_boxes: np.ndarray
    digit_advances: np.ndarray
    others: np.ndarray
    other_boxes: np.ndarray


class Face(NamedTuple):
    """A font family in one weight and style.

    Attributes:
      family: name of the font family.
      style: "Regular", "Bold", or the style and the values of the axes of a variable font.
      package: the Python package that contains the font.
      version: of that package.
      license: SPDX identifier.
      split: one of seqdigits.core.constants.SPLITS.
    """

    family: str
    style: str
    package: str
    version: str
    license: str
    split: str


def load(split: str) -> GlyphSet:
    """Returns the glyphs of one split (see seqdigits.core.constants.SPLITS), faces in the order of `faces`.

    Args:
      split: one of SPLITS.

    Raises:
      UserError: the file is damaged or missing.
    """
    arrays, all_faces = _read()
    return _select(arrays, all_faces, split)


def faces() -> list[Face]:
    """Returns all faces, in the order of the file.

    Raises:
      UserError: the file is damaged or missing.
    """
    return list(_read()[1])


def count_glyphs(data: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """Returns the numbers of faces and of letters and signs by split, from the bytes of a file."""
    arrays, all_faces = parse(data)
    parts = {split: _select(arrays, all_faces, split) for split in dict.fromkeys(face.split for face in all_faces)}
    return (
        {split: len(part.digits) for split, part in parts.items()},
        {split: len(part.others) for split, part in parts.items()},
    )


def parse(data: bytes) -> tuple[dict[str, np.ndarray], list[Face]]:
    """Parses the bytes of a file: G glyphs ordered by face, the ten digits of each face first.

    Returns:
      The arrays `images` u8 [G, 48, 48], `characters` u16 [G] (code points), `faces` i32 [G] (indices into the list of
      faces), `boxes` i32 [G, 4], `advances` i32 [G]; and the list of faces.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in ("images", "characters", "faces", "boxes", "advances")}
        all_faces = [Face(**face) for face in json.loads(file["about.json"].tobytes())["faces"]]
    return arrays, all_faces


@functools.cache
def _read() -> tuple[dict[str, np.ndarray], list[Face]]:
    try:
        data = FILE.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != SHA256:
            raise ValueError(f"{len(data):,} bytes with SHA-256 {digest[:12]}..., expected {SHA256[:12]}...")
        return parse(data)
    except _DAMAGED as e:
        raise UserError(
            f"{FILE}, the glyph images of synthetic scenes, is missing or damaged: {e}. Reinstall seqdigits, or draw "
            "the glyphs again with `make glyphs` (seqdigits build-glyphs after pip install -r fonts/requirements.txt)."
        ) from e


def _select(arrays: dict[str, np.ndarray], all_faces: list[Face], split: str) -> GlyphSet:
    in_split = np.array([face.split == split for face in all_faces])[arrays["faces"]]
    is_digit = (arrays["characters"] >= ord("0")) & (arrays["characters"] <= ord("9"))
    digits, others = in_split & is_digit, in_split & ~is_digit
    return GlyphSet(
        digits=arrays["images"][digits].reshape(-1, 10, SIZE, SIZE),
        digit_boxes=arrays["boxes"][digits].reshape(-1, 10, 4),
        digit_advances=arrays["advances"][digits].reshape(-1, 10),
        others=arrays["images"][others],
        other_boxes=arrays["boxes"][others],
    )


def covered_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Returns left, top, right, bottom (exclusive) of the pixels of u8 [H, W] with MIN_COVERAGE or more."""
    rows, columns = (np.flatnonzero((image >= MIN_COVERAGE).any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
