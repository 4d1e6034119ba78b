"""Reads the files of a part of the house numbers, from PART.tar.gz or from the folder PART that it unpacks to."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from seqdigits.core.errors import UserError, short
from seqdigits.data.photos.picture_files import DAMAGED, verify_png

SUBFOLDER = "svhn_numbers"
MAT = "digitStruct.mat"
URL = "http://ufldl.stanford.edu/housenumbers"
MAX_PHOTOGRAPH_BYTES = 100_000_000
"""Upper bound of the size of a photograph; larger files are not read."""
MAX_MAT_BYTES = 4_000_000_000
"""Upper bound of the size of a digitStruct.mat; larger files are not read."""
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

    The archive is read to its end, because its checksum is there, and HDF5 files have none of their own.

    Raises:
      UserError: the archive cannot be read, has no such member, or `to` cannot be written.
    """
    found = False
    with _reading(archive):
        for name, content in _members(archive, MAX_MAT_BYTES):
            if name == member:
                found = True
                _copy(content, to)
    if not found:
        raise UserError(f"{archive} has no {member}. Download it again from {URL}.")


def _copy(content: BinaryIO, to: Path) -> None:
    while block := content.read(1 << 20):
        try:
            with to.open("ab") as file:
                file.write(block)
        except OSError as e:
            raise UserError(
                f"{to} cannot be written: {e.strerror}. Free some space, or name another folder in TMPDIR."
            ) from e


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
        if path.is_file() and path.stat().st_size <= MAX_PHOTOGRAPH_BYTES:
            with path.open("rb") as file:
                yield number, file


def _in_archive(archive: Path, part: str) -> Iterator[tuple[int, BinaryIO]]:
    for name, content in _members(archive, MAX_PHOTOGRAPH_BYTES):
        match = re.fullmatch(re.escape(part) + r"/([1-9][0-9]{0,8})\.png", name)
        if match:
            yield int(match[1]), content


class _Unzipped(gzip.GzipFile):
    """Reads a .gz in parts of bounded size: the header of a tar archive may announce a name of gigabytes."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError(f"a header or a read has {size:,} bytes")
        return super().read(size)


_MAX_READ = 2 * MAX_PHOTOGRAPH_BYTES


def _members(archive: Path, max_bytes: int) -> Iterator[tuple[str, BinaryIO]]:
    """Yields name and content of the regular files of a .tar.gz; each must be read before the next.

    No file is written and no link is followed; names are only compared, so that malicious archives are harmless. Files of
    more than `max_bytes` are skipped. At the end, the checksum of the .gz is verified.
    """
    with _Unzipped(archive) as unzipped, tarfile.open(fileobj=unzipped, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would accumulate all 200,000
            content = tar.extractfile(member) if member.isfile() and member.size <= max_bytes else None
            if content is not None:
                yield member.name, content  # type: ignore[misc]  # IO[bytes] behaves as BinaryIO
        while unzipped.read(1 << 20):
            pass


_TAR_ERRORS = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, LookupError, ArithmeticError, RuntimeError)
"""Exceptions that tarfile and gzip raise for damaged archives."""


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    try:
        yield
    except _TAR_ERRORS as e:
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
        verify_png(io.BytesIO(data))
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
