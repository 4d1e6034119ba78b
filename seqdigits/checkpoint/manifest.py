"""The manifest of a checkpoint: size and SHA-256 of every file, verified before it is restored."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from seqdigits.config.upgrade import upgrade_record
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically

_MANIFEST = "manifest.json"


class DamagedCheckpoint(UserError):
    """A checkpoint that does not match its manifest; the message names the file and the reason."""


class UnfinishedCheckpoint(DamagedCheckpoint):
    """A checkpoint without a manifest, because the run was stopped while it was being written."""


def seal(path: Path, meta: dict[str, Any]) -> None:
    """Writes the manifest of a complete checkpoint.

    It has `meta`, size and SHA-256 of every file, and a SHA-256 over both. The files are on disk before it is written, so
    that older checkpoints may be deleted after it.
    """
    for name in _files(path):
        with (path / name).open("rb") as file:
            os.fsync(file.fileno())
    content = {"meta": meta, "files": {name: _digest(path / name) for name in _files(path)}}
    write_atomically(path / _MANIFEST, json.dumps({**content, "sha256": _digest_of(content)}, indent=1))


def is_sealed(path: Path) -> bool:
    """Returns whether a checkpoint has a manifest."""
    return (path / _MANIFEST).exists()


def reseal(path: Path, meta: dict[str, Any]) -> None:
    """Replaces the meta in the manifest of a sealed checkpoint.

    The digests of the files stay those of the first sealing. Computed again, they would accept any damage since.

    Raises:
      DamagedCheckpoint: the manifest is missing, unreadable or changed.
    """
    content = {"meta": meta, "files": _read(path)["files"]}
    write_atomically(path / _MANIFEST, json.dumps({**content, "sha256": _digest_of(content)}, indent=1))


def verify(path: Path) -> None:
    """Verifies a checkpoint against its manifest.

    Raises:
      UnfinishedCheckpoint: it has no manifest.
      DamagedCheckpoint: the manifest or a file is missing, unreadable or changed, or a file was added; the message names
        it. Or the folder is a copy of another step.
    """
    manifest = _read(path)
    expected, step = manifest["files"], manifest["meta"].get("step")
    if path.name.isdecimal() and isinstance(step, int) and step != int(path.name):
        raise DamagedCheckpoint(
            f"checkpoint {path} is damaged: by its {_MANIFEST} it is step {step}, in a folder of another name"
        )
    present = _files(path)
    for name in expected:
        if name not in present:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} cannot be read (No such file)")
        try:
            actual = _digest(path / name)
        except OSError as e:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} cannot be read ({e.strerror})") from e
        if actual != expected[name]:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} was changed (SHA-256 differs)")
    for name in present:
        if name not in expected and not _is_left_by_a_file_system(name):
            raise DamagedCheckpoint(
                f"checkpoint {path} is damaged: {name} was added, {_MANIFEST} does not list it. Remove this file to use the "
                "checkpoint"
            )


def _is_left_by_a_file_system(name: str) -> bool:
    """Returns whether a file was added by NFS or macOS: orbax reads no file of such a name."""
    return name.rpartition("/")[2].startswith((".nfs", "._", ".DS_Store"))


def _read(path: Path) -> dict[str, Any]:
    """Returns the content of the manifest of a checkpoint, with `meta` and `files`.

    Raises:
      UnfinishedCheckpoint: there is none.
      DamagedCheckpoint: it is unreadable or was changed.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        content = {name: manifest[name] for name in ("meta", "files")}
        is_intact = manifest["sha256"] == _digest_of(content)
        if not all(isinstance(part, dict) for part in content.values()):
            raise ValueError("meta and files are not objects")
    except FileNotFoundError:
        raise UnfinishedCheckpoint(
            f"checkpoint {path} has no {_MANIFEST}: it was stopped while being written"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {_MANIFEST} cannot be read ({e})") from e
    if not is_intact:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {_MANIFEST} was changed (SHA-256 differs)")
    return content


def read_meta(path: Path) -> dict[str, Any]:
    """Returns the meta of a checkpoint, with upgraded configs.

    Raises:
      DamagedCheckpoint: the manifest is missing, unreadable or changed.
    """
    return upgrade_record(_read(path)["meta"])


def _digest_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> list[str]:
    names = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    return sorted(name for name in names if not name.startswith(_MANIFEST))


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
