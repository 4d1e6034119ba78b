"""The files of a part of the house numbers: PART.tar.gz as published, or the folder PART that it unpacks to."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from seqdigits.core.errors import UserError, short
from seqdigits.data.photos.crop import DAMAGED

SUBFOLDER = "svhn_numbers"
MAT = "digitStruct.mat"
URL = "http://ufldl.stanford.edu/housenumbers"
BYTES = {"train": 404_141_560, "test": 276_555_967, "extra": 1_955_489_752}


def place(folder: Path, part: str) -> Path:
    """The unpacked folder of a part, or its archive."""
    unpacked, archive = folder / part, folder / f"{part}.tar.gz"
    if (unpacked / MAT).is_file():
        return unpacked
    if archive.is_file():
        return archive
    raise UserError(
        f"{archive} is missing, and {unpacked / MAT} too. Get {URL}/{part}.tar.gz ({BYTES[part]:,} bytes, for "
        f"non-commercial use only) and put it into {folder}, packed or unpacked. Another place: the environment "
        f"variable SEQDIGITS_DATA=DIR or --config.data.folder=DIR, with the file in DIR/{SUBFOLDER}."
    )


def take_out(archive: Path, member: str, to: Path) -> None:
    """Writes one regular member of an archive to the file `to`."""
    with _reading(archive):
        for name, content in _members(archive):
            if name == member:
                with to.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                return
    raise UserError(f"{archive} holds no {member}. Get it again from {URL}.")


def photographs(place: Path, part: str, wanted: Collection[int]) -> Iterator[tuple[int, bytes]]:
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
        raise too_few(place, part, found, len(wanted), f"; the first one missing is {part}/{min(missing)}.png")


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
            f"{place} cannot be read: {short(e)}. If it is cut off or damaged, get it again from {URL}."
        ) from e


def decode_image(data: bytes, gray: bool, described: str) -> Image.Image:
    """A photograph, "L" or "RGB"."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as photo:
            return photo.convert("L" if gray else "RGB")
    except DAMAGED as e:
        raise UserError(f"{described} is damaged: {short(e)}. Get the archive again from {URL}.") from e


def too_few(place: Path, part: str, found: int, wanted: int, first: str = "") -> UserError:
    return UserError(
        f"{place} holds {found:,} of {wanted:,} photographs{first}. {again(place, part)} With the first 2,000 of "
        "train and the first 500 of test alone, --config.data.photographs=svhn_2000 is the set."
    )


def again(place: Path, part: str) -> str:
    return f"The whole archive is {URL}/{part}.tar.gz, {BYTES[part]:,} bytes."
