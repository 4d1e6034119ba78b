"""The manifest of a data set on disk: the list of its shards, and the check that they are intact. No TensorFlow.

As in TFDS, a set is the folder RECORDS/NAME/CONFIG/VERSION with shards NAME-SPLIT.tfrecord-00000-of-00066. In addition to
the files of TFDS, the folder has a `manifest.json` with the size in bytes, the SHA-256 and the number of examples of each
shard.
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
PREPARE_COMMAND = "python -m seqdigits prepare configs/X.py, with the same --config flags"
"""The command that writes records."""
_VERIFIED = "verified.json"


@dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
      name: name of the file.
      split: split that the records belong to.
      examples: number of records.
      bytes: size of the file.
      sha256: SHA-256 of the file, in hexadecimal.
    """

    name: str
    split: str
    examples: int
    bytes: int
    sha256: str


def write_manifest(folder: Path, shards: list[Shard], metadata: dict[str, Any]) -> None:
    """Writes the manifest of a set: its shards, and `metadata` as JSON."""
    content = {**metadata, "shards": [asdict(shard) for shard in shards]}
    write_atomically(folder / MANIFEST, json.dumps({**content, "sha256": _digest(content)}, indent=1))


def open_records(folder: Path) -> list[Shard]:
    """Returns the shards of a set after verifying that all files exist and are unchanged.

    Sizes are compared every time. The SHA-256 is computed only for files that have changed (in size, times or inode)
    since they were last verified. `verified.json` in the folder records this, if the folder is writable.

    Raises:
      UserError: there is no such set, or a file is missing, truncated, altered, or does not belong to the set.
    """
    shards = [Shard(**shard) for shard in read_manifest(folder)["shards"]]
    known = {shard.name for shard in shards}
    for file in shard_files(folder):
        if file.name not in known:
            raise UserError(f"{file} does not belong to these records. Remove it.")
    verified = _read_verified(folder)
    current: dict[str, list[int]] = {}
    unverified = []
    for shard in shards:
        try:
            stat = (folder / shard.name).stat()
        except OSError as e:
            raise UserError(f"{folder / shard.name} is missing ({e.strerror}). {rewrite_hint(folder)}") from e
        if stat.st_size != shard.bytes:
            raise UserError(
                f"{folder / shard.name} has {stat.st_size:,} bytes, expected {shard.bytes:,}. {rewrite_hint(folder)}"
            )
        current[shard.name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if verified.get(shard.name) != current[shard.name]:
            unverified.append(shard)
    for shard in progress(iter(unverified), len(unverified), "files verified", folder):
        if sha256(folder / shard.name) != shard.sha256:
            raise UserError(
                f"{folder / shard.name} is damaged: its SHA-256 differs from the manifest. {rewrite_hint(folder)}"
            )
    if unverified:
        _write_verified(folder, current)
    return shards


def rewrite_hint(folder: Path) -> str:
    """Returns the sentence that tells how to replace damaged records."""
    return f"Delete {folder} and write the records again: {PREPARE_COMMAND}."


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the content of a set's manifest; see `write_manifest`.

    Raises:
      UserError: the manifest is missing or damaged.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text())
        if content.pop("sha256") != _digest(content):
            raise ValueError("its checksum differs")
    except FileNotFoundError:
        raise UserError(f"{folder} has no records. Write them: {PREPARE_COMMAND}.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise UserError(f"{folder / MANIFEST} cannot be read: {e}. {rewrite_hint(folder)}") from e
    return content


def shard_files(folder: Path) -> list[Path]:
    """Returns the record files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if re.search(r"\.tfrecord-\d{5}-of-\d{5}$", path.name))


def shards_of_split(shards: list[Shard], split: str) -> list[Shard]:
    """Returns the shards of one split, in order."""
    return [shard for shard in shards if shard.split == split]


def shard_ranges(shards: list[Shard], start: int, stop: int) -> Iterator[tuple[Shard, int, int]]:
    """Yields the shards that hold examples start..stop-1, each with the number of records to skip and to take.

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


def _read_verified(folder: Path) -> dict[str, list[int]]:
    try:
        verified = json.loads((folder / _VERIFIED).read_text())
    except (OSError, ValueError):
        return {}
    return verified if isinstance(verified, dict) else {}


def _write_verified(folder: Path, current: dict[str, list[int]]) -> None:
    try:
        write_atomically(folder / _VERIFIED, json.dumps(current))
    except OSError:
        return  # files in a read-only folder are verified every time
