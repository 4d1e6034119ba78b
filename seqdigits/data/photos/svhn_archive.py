"""Reads the files of a part of the house numbers, from PART.tar.gz or from the folder PART that it unpacks to."""

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
    """Returns the path of the unpacked folder of a part, or else of its archive.

    Raises:
      UserError: both are missing.
    """
    unpacked, archive = folder / part, folder / f"{part}.tar.gz"
    if (unpacked / MAT).is_file():
        return unpacked
    if archive.is_file():
        return archive
    raise UserError(
        f"{archive} is missing, and so is {unpacked / MAT}. Download {URL}/{part}.tar.gz ({BYTES[part]:,} bytes, for "
        f"non-commercial use only) and put it into {folder}, packed or unpacked. To use another folder DIR, with the file "
        f"in DIR/{SUBFOLDER}, set the environment variable SEQDIGITS_DATA=DIR or --config.data.folder=DIR."
    )


def extract_member(archive: Path, member: str, to: Path) -> None:
    """Extracts one regular member of an archive into the file `to`.

    Raises:
      UserError: the archive cannot be read, or has no such member.
    """
    with _reading(archive):
        for name, content in _members(archive):
            if name == member:
                with to.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                return
    raise UserError(f"{archive} has no {member}. Download it again from {URL}.")


def photographs(place: Path, part: str, wanted: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Yields number and bytes of each wanted photograph once, in the order of the archive.

    Raises:
      UserError: a photograph is missing or cannot be read.
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
        present = len(wanted) - len(missing)
        raise too_few_photographs(
            place, part, present, len(wanted), f"; the first missing one is {part}/{min(missing)}.png"
        )


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
    """Yields name and content of the regular files of a .tar.gz; each must be read before the next.

    No file is written and no link is followed; names are only compared, so that malicious archives are harmless.
    """
    with tarfile.open(archive, "r:gz") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would accumulate all 200,000
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content  # type: ignore[misc]  # IO[bytes] behaves as BinaryIO


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, OSError) as e:
        raise UserError(
            f"{place} cannot be read: {short(e)}. If it is truncated or damaged, download it again from {URL}."
        ) from e


def decode_image(data: bytes, gray: bool, described: str) -> Image.Image:
    """Decodes a photograph in mode "L" or "RGB".

    Args:
      data: content of a PNG file.
      gray: whether to return mode "L".
      described: name of the photograph in messages.

    Raises:
      UserError: it is damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as photo:
            return photo.convert("L" if gray else "RGB")
    except DAMAGED as e:
        raise UserError(f"{described} is damaged: {short(e)}. Download the archive again from {URL}.") from e


def too_few_photographs(place: Path, part: str, present: int, wanted: int, first: str = "") -> UserError:
    """Returns the error for a part with fewer photographs than wanted; `first` describes the first missing one."""
    return UserError(
        f"{place} has {present:,} of {wanted:,} photographs{first}. {download_hint(part)} For the first 2,000 of train "
        "and the first 500 of test only, set --config.data.photographs=svhn_2000."
    )


def download_hint(part: str) -> str:
    """Returns the sentence that names the complete archive of a part."""
    return f"The complete archive is {URL}/{part}.tar.gz, {BYTES[part]:,} bytes."
