"""Records on disk: where a data set's records lie, what belongs to them, and whether they are as they were written. No TensorFlow.

A set lies where TFDS keeps it, RECORDS/NAME/CONFIG/VERSION, in shards NAME-SPLIT.tfrecord-00000-of-00066. Beside TFDS's own
files stands `manifest.json`: of each shard its bytes, SHA-256, and number of examples.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqdigits.core.errors import UserError
from seqdigits.core.files import sha256, write_atomically
from seqdigits.core.progress import progress

MANIFEST = "manifest.json"
WRITE = "python -m seqdigits prepare configs/X.py, with the same --config flags"
"""The command that writes records."""
_VERIFIED = "verified.json"


@dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
      name: of the file.
      split: which it is part of.
      examples: how many records it has.
      bytes, sha256: of the file.
    """

    name: str
    split: str
    examples: int
    bytes: int
    sha256: str


def write_manifest(folder: Path, shards: list[Shard], about: dict[str, Any]) -> None:
    """Writes what `open_records` reads. `about`: what else to say of the set."""
    content = {**about, "shards": [asdict(shard) for shard in shards]}
    write_atomically(folder / MANIFEST, json.dumps({**content, "sha256": _digest(content)}, indent=1))


def open_records(folder: Path) -> list[Shard]:
    """The shards of a set, every file of which is there and as it was written.

    Sizes are compared each time; SHA-256 for a file that was not verified before as it lies there (size, times, inode). What
    was verified is noted in the folder, if it can be written.

    Raises:
      UserError: no such set, or a file is missing, empty, cut short, altered, foreign, or not of the set.
    """
    shards = [Shard(**shard) for shard in read_about(folder)["shards"]]
    known = {shard.name for shard in shards}
    for file in shard_files(folder):
        if file.name not in known:
            raise UserError(f"{file} does not belong to these records. Take it away.")
    noted = _noted(folder)
    seen: dict[str, list[int]] = {}
    unverified = []
    for shard in shards:
        try:
            stat = (folder / shard.name).stat()
        except OSError as e:
            raise UserError(f"{folder / shard.name} is missing ({e.strerror}). {how_to_write_again(folder)}") from e
        if stat.st_size != shard.bytes:
            raise UserError(
                f"{folder / shard.name} has {stat.st_size:,} bytes, written were {shard.bytes:,}. {how_to_write_again(folder)}"
            )
        seen[shard.name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if noted.get(shard.name) != seen[shard.name]:
            unverified.append(shard)
    for shard in progress(iter(unverified), len(unverified), "files verified", folder):
        if sha256(folder / shard.name) != shard.sha256:
            raise UserError(
                f"{folder / shard.name} is not as it was written: its SHA-256 differs. {how_to_write_again(folder)}"
            )
    if unverified:
        _note(folder, seen)
    return shards


def how_to_write_again(folder: Path) -> str:
    """What to do about damaged records."""
    return f"Delete {folder} and write it anew: {WRITE}."


def read_about(folder: Path) -> dict[str, Any]:
    """What the manifest says of a set; see `write_manifest`.

    Raises:
      UserError: there is none, or it is damaged.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text())
        if content.pop("sha256") != _digest(content):
            raise ValueError("it is not as it was written")
    except FileNotFoundError:
        raise UserError(f"there are no records in {folder}. Write them: {WRITE}.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise UserError(f"{folder / MANIFEST} cannot be read: {e}. {how_to_write_again(folder)}") from e
    return content


def shard_files(folder: Path) -> list[Path]:
    """Files of records, by their names."""
    return sorted(path for path in folder.iterdir() if re.search(r"\.tfrecord-\d{5}-of-\d{5}$", path.name))


def shards_of_split(shards: list[Shard], split: str) -> list[Shard]:
    """Those of one split, in order."""
    return [shard for shard in shards if shard.split == split]


def shard_ranges(shards: list[Shard], start: int, stop: int) -> Iterator[tuple[Shard, int, int]]:
    """Which records of which files are examples start..stop-1: file, how many to skip, how many to take.

    >>> a, b = Shard("a", "train", 5, 0, ""), Shard("b", "train", 5, 0, "")
    >>> [(shard.name, skip, take) for shard, skip, take in shard_ranges([a, b], 3, 7)]
    [('a', 3, 2), ('b', 0, 2)]
    """
    first = 0
    for shard in shards:
        low, high = max(start - first, 0), min(stop - first, shard.examples)
        if low < high:
            yield shard, low, high - low
        first += shard.examples


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _noted(folder: Path) -> dict[str, list[int]]:
    try:
        noted = json.loads((folder / _VERIFIED).read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _note(folder: Path, seen: dict[str, list[int]]) -> None:
    try:
        write_atomically(folder / _VERIFIED, json.dumps(seen))
    except OSError:
        return  # a folder that cannot be written is verified each time
