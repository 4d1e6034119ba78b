"""Natural backgrounds: photographs without text or digits, in one JPEG file.

`seqdigits build-backgrounds` makes the file. Its picture is a sheet of all photographs; a JSON index in its
comment segment describes the packages they are from, and for each photograph its name, package, version, license,
split, and place on the sheet. The file is for local use: the photographs have different licenses.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError, short
from seqdigits.core.files import expanded
from seqdigits.data.photos.picture_files import DAMAGED

FILE = Path("~/.cache/seqdigits/backgrounds.jpg")
"""Default path of the file; its user folder is not expanded."""
COMMAND = "seqdigits build-backgrounds"
LONGER_SIDE = 640
"""Maximum length of the longer side of a background, in pixels."""
MAX_BYTES = 25_000_000
"""Maximum size of the file."""
SHEET_WIDTH = 8 * LONGER_SIDE
"""Width of the sheet, in pixels; a row has as many photographs as fit into it."""
BLOCK = 16
"""Photographs begin at multiples of this number of pixels, so that no block of the JPEG file has parts of two."""
_QUALITY = 92
_MAX_PIXELS = 89_000_000
"""Maximum size of the sheet, in pixels. Pillow warns of larger pictures, as a possible attack, when it opens them."""
_MAX_COMMENT = 65_533
"""Maximum size of a comment segment, in bytes."""
_PLACE = ("left", "top", "width", "height")


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      format: value of the key `format` of the index.
      command: that makes such a file.
    """

    format: str
    command: str


BACKGROUNDS = Kind("seqdigits backgrounds 1", COMMAND)
MISREAD = Kind("seqdigits misread 1", "seqdigits find-misread")
"""Parts of the backgrounds of training in which a reader saw a number."""


class Background(NamedTuple):
    """One photograph.

    Attributes:
      name: PACKAGE/NAME.
      pixels: u8 [h, w, 3], RGB; the longer side is at most LONGER_SIDE.
      version: of the package.
      license: SPDX identifier.
    """

    name: str
    pixels: np.ndarray
    version: str
    license: str


class Entry(NamedTuple):
    """One photograph to be written.

    Attributes:
      name: name of the photograph within the package.
      package: name of the package.
      version: version of the package.
      license: SPDX identifier of the license.
      picture: the photograph, of mode "RGB" and any size.
    """

    name: str
    package: str
    version: str
    license: str
    picture: Image.Image


def split_of(name: str) -> str:
    """Returns the split of a photograph: 70% train, 15% validation, 15% test.

    The split depends only on the SHA-256 of the name, so adding photographs does not change the split of the others.

    Args:
      name: PACKAGE/NAME.

    >>> [split_of(name) for name in ("mate-backgrounds/Dune", "mate-backgrounds/Wood", "mate-backgrounds/TwoWings")]
    ['train', 'validation', 'test']
    """
    percent = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
    return "train" if percent < 70 else "validation" if percent < 85 else "test"


def shrunk(picture: Image.Image) -> Image.Image:
    """Returns a picture with its longer side at most LONGER_SIDE; it is never enlarged."""
    scale = LONGER_SIDE / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def encode(entries: Sequence[Entry], kind: Kind = BACKGROUNDS) -> bytes:
    """Returns the file of a kind with the photographs of `entries`, in their order.

    Raises:
      UserError: there are more photographs than a file can have.
    """
    pictures = [shrunk(entry.picture) for entry in entries]
    places, left, top, bottom = [], 0, 0, 0
    for width, height in (picture.size for picture in pictures):
        if left + width > SHEET_WIDTH:
            left, top = 0, bottom
        places.append((left, top, width, height))
        left += -(-width // BLOCK) * BLOCK
        bottom = max(bottom, top + -(-height // BLOCK) * BLOCK)
    if bottom * SHEET_WIDTH > _MAX_PIXELS:
        raise UserError(
            f"the sheet would be {bottom:,} pixels high; allowed are {_MAX_PIXELS // SHEET_WIDTH:,}. List fewer pictures."
        )
    sheet = Image.new("RGB", (SHEET_WIDTH, bottom), (128, 128, 128))
    for picture, place in zip(pictures, places, strict=True):
        sheet.paste(picture, place[:2])
    index = {
        "format": kind.format,
        "pictures": [
            {
                "name": f"{entry.package}/{entry.name}",
                "package": entry.package,
                "version": entry.version,
                "license": entry.license,
                "split": split_of(f"{entry.package}/{entry.name}"),
                **dict(zip(_PLACE, place, strict=True)),
            }
            for entry, place in zip(entries, places, strict=True)
        ],
    }
    comment = json.dumps(index, separators=(",", ":")).encode()
    buffer = io.BytesIO()
    # Without subsampling, colors do not bleed into the photograph beside.
    sheet.save(buffer, "JPEG", quality=_QUALITY, subsampling=0, comment=comment[:_MAX_COMMENT])
    data = buffer.getvalue()
    if len(comment) > _MAX_COMMENT or len(data) > MAX_BYTES:
        raise UserError(
            f"{len(entries)} pictures need an index of {len(comment):,} bytes and a file of {len(data):,} bytes; allowed "
            f"are {_MAX_COMMENT:,} and {MAX_BYTES:,}. List fewer pictures."
        )
    return data


def load(file: Path, split: str, kind: Kind = BACKGROUNDS) -> list[Background]:
    """Loads the backgrounds of a split, in the order of the file.

    Args:
      file: path of the file.
      split: train, validation or test.
      kind: of the file.

    Raises:
      UserError: the file is missing, damaged, or of another kind; or it has none for the split.
    """
    file = expanded(file)
    try:
        with Image.open(file, formats=["JPEG"]) as sheet:
            index = _index(sheet.info.get("comment", b""), sheet.size, kind)
            pixels = np.asarray(sheet.convert("RGB"))
    except FileNotFoundError as e:
        raise UserError(f"{file} is missing. To make it: {kind.command} --out {file}") from e
    except (*DAMAGED, KeyError) as e:
        raise UserError(
            f"{file} is damaged or not a file of {kind.command}: {short(e)}. To make it again: {kind.command} --out {file}"
        ) from e
    found = []
    for entry in index:
        if entry["split"] == split:
            left, top, width, height = (entry[key] for key in _PLACE)
            part = pixels[top : top + height, left : left + width].copy()
            found.append(Background(entry["name"], part, entry["version"], entry["license"]))
    if not found:
        count = ", ".join(f"{sum(entry['split'] == s for entry in index)} for {s}" for s in SPLITS)
        raise UserError(f"{file} has no backgrounds for the split {split} ({count}).")
    return found


def pixels_of(file: str, split: str, kind: Kind = BACKGROUNDS) -> list[np.ndarray]:
    """Returns the pixels of the backgrounds of a split, u8 [h, w, 3]; see `load`."""
    return [background.pixels for background in load(Path(file), split, kind)]


def _index(comment: bytes, size: tuple[int, int], kind: Kind) -> list[dict[str, Any]]:
    """Returns the entries of the index in a comment segment; a ValueError or KeyError says what is wrong with it."""
    index = json.loads(comment)
    if not isinstance(index, dict) or index.get("format") != kind.format:
        raise ValueError(f"its comment is not an index of the format {kind.format!r}")
    for entry in index["pictures"]:
        left, top, width, height = (entry[key] for key in _PLACE)
        inside = all(type(entry[key]) is int for key in _PLACE) and (
            0 <= left < left + width <= size[0] and 0 <= top < top + height <= size[1]
        )
        named = all(isinstance(entry[key], str) for key in ("name", "version", "license"))
        if not inside or entry["split"] not in SPLITS or not named:
            raise ValueError(f"the entry {str(entry)[:200]} is not of the sheet of {size[0]} x {size[1]} pixels")
    return index["pictures"]
