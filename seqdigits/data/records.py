"""Records on disk: where a data set's records lie, what belongs to them, and whether they are as they were written. No TensorFlow.

A set lies where TFDS keeps it, RECORDS/NAME/CONFIG/VERSION, in shards NAME-SPLIT.tfrecord-00000-of-00066. Beside TFDS's own
files stands `manifest.json`: of each shard its bytes, SHA-256, and number of examples.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqdigits.clock import progress
from seqdigits.data import compose, labels
from seqdigits.errors import UserError
from seqdigits.writers import write_atomically

FORMS = ("png", "raw", "float64")
"""How a record holds the pixels: compressed without loss, as bytes, or as 64-bit floats of 0..1."""

VERSION = "1.0.0"
"""Of what is written. Another pixel in any example, or another feature, is another version."""

MANIFEST = "manifest.json"
WRITE = "python -m seqdigits.data.prepare configs/X.py, with the same --config flags"
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


def root(folder: str) -> Path:
    """`folder`, or where it is empty $TFDS_DATA_DIR, or ~/tensorflow_datasets: TFDS's own default."""
    return Path(folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def sequences_name(data: ConfigDict) -> str:
    """The name of a set that is made of digits: everything that its examples depend on, and the form.

    `data`: the section of a config. What is at its default, or means nothing for the composition, is left out.
    """
    parts = [data.digits, data.composition]
    if data.composition != "digit":
        lengths = f"{data.min_length}to{data.max_length}" if data.min_length < data.max_length else f"{data.max_length}"
        counts = (data.train_examples, data.validation_examples, data.test_examples)
        parts += [f"{data.height}x{data.width}", lengths]
        parts += [f"jitter{data.jitter}"] if data.jitter else []
        parts += ["stacked"] if data.stacked else []
        parts += ["_".join(map(str, counts))] if counts != (165_000, 15_000, 30_000) else []
        parts += [f"seed{data.seed}"] if data.seed else []
    parts += [f"{data.validation_percent}percent"] if data.validation_percent else []
    return "-".join(parts) + form_suffix(data.records_form)


def photographs_name(kind: str, photographs: str, with_extra: bool) -> str:
    """The name of a set of house numbers.

    >>> photographs_name("whole", "svhn", True), photographs_name("cropped", "svhn_2000", False)
    ('whole', 'cropped-2000')
    """
    return kind + ("-2000" if photographs == "svhn_2000" else "" if with_extra else "-without_extra")


def _own_name(folder: Path) -> str:
    """The folder's name, and a hash of its labels and of the names, sizes and times of change of its pictures: others are
    another set."""
    rows = labels.rows(folder)  # first of all, for it says what is wrong with the folder
    digest = hashlib.sha256((folder / labels.NAME).read_bytes())
    for row in rows:
        try:
            stat = row.image.stat()
        except OSError as e:
            raise UserError(
                f"{row.image} cannot be read: {e.strerror}. Check the folder: python -m seqdigits.data.own"
            ) from e
        digest.update(f"{row.image.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return f"{re.sub('[^A-Za-z0-9]+', '_', folder.resolve().name)}-{digest.hexdigest()[:12]}"


def form_suffix(form: str) -> str:
    """What the name of a set says of its form.

    >>> form_suffix("png"), form_suffix("raw")
    ('', '-raw')
    """
    return "" if form == "png" else f"-{form}"


def location(config: ConfigDict) -> tuple[str, str]:
    """Name of the TFDS data set that holds the examples of a config, and name of its configuration."""
    data = config.data
    if data.composition in compose.COMPOSITIONS:
        return "digit_sequences", sequences_name(data)
    if data.photographs == "own":
        return "own_numbers", _own_name(Path(data.folder).expanduser())
    with_extra = "extra" in data.parts and data.photographs == "svhn"
    return "svhn_numbers", photographs_name("whole", data.photographs, with_extra)


def path(config: ConfigDict) -> Path:
    """The folder with the records of a config."""
    return root(config.data.records).joinpath(*location(config), VERSION)


def write_manifest(folder: Path, shards: list[Shard], about: dict[str, Any]) -> None:
    """Writes what `open_` reads. `about`: what else to say of the set."""
    content = {**about, "shards": [asdict(shard) for shard in shards]}
    write_atomically(folder / MANIFEST, json.dumps({**content, "sha256": _digest(content)}, indent=1))


def open_(folder: Path) -> list[Shard]:
    """The shards of a set, every file of which is there and as it was written.

    Sizes are compared each time; SHA-256 for a file that was not verified before as it lies there (size, times, inode). What
    was verified is noted in the folder, if it can be written.

    Raises:
      UserError: no such set, or a file is missing, empty, cut short, altered, foreign, or not of the set.
    """
    shards = [Shard(**shard) for shard in about(folder)["shards"]]
    known = {shard.name for shard in shards}
    for file in files(folder):
        if file.name not in known:
            raise UserError(f"{file} does not belong to these records. Take it away.")
    noted = _noted(folder)
    seen: dict[str, list[int]] = {}
    unverified = []
    for shard in shards:
        try:
            stat = (folder / shard.name).stat()
        except OSError as e:
            raise UserError(f"{folder / shard.name} is missing ({e.strerror}). {anew(folder)}") from e
        if stat.st_size != shard.bytes:
            raise UserError(
                f"{folder / shard.name} has {stat.st_size:,} bytes, written were {shard.bytes:,}. {anew(folder)}"
            )
        seen[shard.name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if noted.get(shard.name) != seen[shard.name]:
            unverified.append(shard)
    for shard in progress(iter(unverified), len(unverified), "files verified", folder):
        if sha256(folder / shard.name) != shard.sha256:
            raise UserError(f"{folder / shard.name} is not as it was written: its SHA-256 differs. {anew(folder)}")
    if unverified:
        _note(folder, seen)
    return shards


def anew(folder: Path) -> str:
    """What to do about damaged records."""
    return f"Delete {folder} and write it anew: {WRITE}."


def about(folder: Path) -> dict[str, Any]:
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
        raise UserError(f"{folder / MANIFEST} cannot be read: {e}. {anew(folder)}") from e
    return content


def files(folder: Path) -> list[Path]:
    """Files of records, by their names."""
    return sorted(path for path in folder.iterdir() if re.search(r"\.tfrecord-\d{5}-of-\d{5}$", path.name))


def of_split(shards: list[Shard], split: str) -> list[Shard]:
    """Those of one split, in order."""
    return [shard for shard in shards if shard.split == split]


def ranges(shards: list[Shard], start: int, stop: int) -> Iterator[tuple[Shard, int, int]]:
    """Which records of which files are examples start..stop-1: file, how many to skip, how many to take.

    >>> a, b = Shard("a", "train", 5, 0, ""), Shard("b", "train", 5, 0, "")
    >>> [(shard.name, skip, take) for shard, skip, take in ranges([a, b], 3, 7)]
    [('a', 3, 2), ('b', 0, 2)]
    """
    first = 0
    for shard in shards:
        low, high = max(start - first, 0), min(stop - first, shard.examples)
        if low < high:
            yield shard, low, high - low
        first += shard.examples


def sha256(file: Path) -> str:
    """Of a file, read in pieces."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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
