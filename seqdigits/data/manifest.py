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

from seqdigits.core.errors import UserError, short
from seqdigits.core.files import sha256, write_atomically
from seqdigits.core.progress import progress

MANIFEST = "manifest.json"
PREPARE_COMMAND = "seqdigits prepare configs/X.py, with the same --config flags"
"""The command that writes records."""
_VERIFIED = "verified.json"
_SHARD_NAME = re.compile(r"[\w-][\w.-]*\.tfrecord-\d{5}-of-\d{5}")


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

    Raises:
      UserError: there is no such set, or a file is missing, truncated, altered, or does not belong to the set.
    """
    content = read_manifest(folder)
    name = content.get("name", "")
    if "/" in name and not folder.absolute().as_posix().endswith(f"/{name}"):
        raise UserError(f"{folder} has the records of another set, {name}. Move them to a folder of that name.")
    shards = shards_of(content)
    known = {shard.name for shard in shards}
    for file in shard_files(folder):
        if file.name not in known:
            raise UserError(f"{file} does not belong to these records. Remove it.")
    for shard, fault in faults(folder, shards):
        raise UserError(f"{folder / shard.name} {fault}. {rewrite_hint(folder)}")
    return shards


def faults(folder: Path, shards: list[Shard]) -> Iterator[tuple[Shard, str]]:
    """Yields each shard whose file is missing, truncated or altered, and what is wrong with it.

    Sizes are compared every time. The SHA-256 is computed only for files that have changed (in size, times or inode)
    since they were last verified, or that should have another one since. `verified.json` in the folder records this, if the folder is writable.
    """
    verified = _read_verified(folder)
    intact, unverified = [], []
    for shard in shards:
        try:
            state = _state(folder / shard.name)
        except OSError as e:
            yield shard, f"is missing ({e.strerror})"
            continue
        if state[0] != shard.bytes:
            yield shard, f"has {state[0]:,} bytes, expected {shard.bytes:,}"
        elif verified.get(shard.name) != [*state, shard.sha256]:
            unverified.append(shard)
    for shard in progress(iter(unverified), len(unverified), "files verified", folder):
        if sha256(folder / shard.name) == shard.sha256:
            intact.append(shard)
        else:
            yield shard, "is damaged: its SHA-256 differs from the manifest"
    mark_verified(folder, intact)


def mark_verified(folder: Path, shards: list[Shard]) -> None:
    """Records that the files of these shards are intact as they are now."""
    if shards:
        verified = _read_verified(folder) | {
            shard.name: [*_state(folder / shard.name), shard.sha256] for shard in shards
        }
        try:
            write_atomically(folder / _VERIFIED, json.dumps(verified))
        except OSError:
            return  # files in a read-only folder are verified every time


def rewrite_hint(folder: Path) -> str:
    """Returns the sentence that tells how to replace damaged records."""
    return f"Delete {folder} and write the records again: {PREPARE_COMMAND}."


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the content of a set's manifest; see `write_manifest`.

    Raises:
      UserError: the manifest is missing or damaged.
    """
    try:
        return parse_manifest((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} has no records. Write them: {PREPARE_COMMAND}.") from None
    except (OSError, ValueError) as e:
        raise UserError(f"{folder / MANIFEST} cannot be read: {e}. {rewrite_hint(folder)}") from e


def parse_manifest(data: bytes) -> dict[str, Any]:
    """Returns the content of a manifest file.

    Raises:
      ValueError: it is damaged, or names a shard that would not be in the folder of the set.
    """
    try:
        content = json.loads(data)
        if content.pop("sha256") != _digest(content):
            raise ValueError("its checksum differs")
        for shard in shards_of(content):
            if not _SHARD_NAME.fullmatch(shard.name):
                raise ValueError(f"{shard.name!r} is not the name of a file of records")
    except (TypeError, KeyError, AttributeError, RecursionError) as e:
        raise ValueError(f"it is not a manifest: {short(e)}") from e
    return content


def shards_of(manifest: dict[str, Any]) -> list[Shard]:
    """Returns the shards that a manifest lists, in order."""
    return [Shard(**shard) for shard in manifest["shards"]]


def shard_files(folder: Path) -> list[Path]:
    """Returns the record files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if re.search(r"\.tfrecord-\d{5}-of-\d{5}$", path.name))


def shards_of_split(shards: list[Shard], split: str) -> list[Shard]:
    """Returns the shards of one split, in order."""
    return [shard for shard in shards if shard.split == split]


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_verified(folder: Path) -> dict[str, list[int]]:
    try:
        verified = json.loads((folder / _VERIFIED).read_text())
    except (OSError, ValueError):
        return {}
    return verified if isinstance(verified, dict) else {}


def _state(file: Path) -> list[int]:
    """Returns what changes when a file is written or replaced: size, times and inode."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
