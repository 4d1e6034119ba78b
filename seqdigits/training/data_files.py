"""Digests of the data files that a run reads, so that it is not resumed with others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded, sha256, write_atomically
from seqdigits.data.photos import labels
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS

NAME = "data_files.json"
"""In the folder of a run: the digests by config key."""


def check(config: ConfigDict, workdir: Path, resumes: bool) -> None:
    """Records the digests of a new run, if it reads such files, and compares those of a run that is resumed; older runs have none.

    Raises:
      UserError: a file has changed, or the record is damaged.
    """
    path, found = workdir / NAME, digests(config)
    if not resumes or not path.exists():
        if found:
            write_atomically(path, json.dumps(found, indent=1))
        return
    try:
        saved = json.loads(path.read_text())
        changed = [key for key, digest in found.items() if saved.get(key, digest) != digest]
    except (OSError, ValueError, AttributeError) as e:
        raise UserError(f"{path} is damaged ({e}). Delete it to resume with the data files as they are now.") from e
    if changed:
        named = ", ".join(f"{key} = {config.data[key.partition('.')[2]]}" for key in changed)
        raise UserError(
            f"{named}: its content is not that with which the run in {workdir} began, so a resumed run would not train on the same "
            "examples. Restore it from a copy, or start a new run with another --workdir."
        )


def digests(config: ConfigDict) -> dict[str, str]:
    """Returns the SHA-256 of what each key of data names, hexadecimal; without files that are missing, which loading reports.

    Of a folder of custom photos it covers the labels and the names and sizes of the images, of records on disk nothing: their names
    have such a digest.
    """
    data, found = config.data, {}
    for key in ("backgrounds", "misread"):
        if data[key] and expanded(data[key]).is_file():
            found[f"data.{key}"] = sha256(expanded(data[key]))
    folder = expanded(data.folder)
    is_custom = data.composition in PHOTO_COMPOSITIONS and data.photographs == "folder"
    if is_custom and data.source != "tfrecord" and (folder / labels.NAME).is_file():
        digest = hashlib.sha256((folder / labels.NAME).read_bytes())
        for row in labels.rows(folder):
            digest.update(f"{row.image.relative_to(folder)} {row.image.stat().st_size}".encode())
        found["data.folder"] = digest.hexdigest()
    return found
