"""The manifest of a checkpoint: size and SHA-256 of every file, verified before it is restored."""

from __future__ import annotations

import hashlib
import json
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

    It has `meta`, size and SHA-256 of every file, and a SHA-256 over both.
    """
    content = {"meta": meta, "files": {name: _digest(path / name) for name in _files(path)}}
    write_atomically(path / _MANIFEST, json.dumps({**content, "sha256": _digest_of(content)}, indent=1))


def verify(path: Path) -> None:
    """Verifies a checkpoint against its manifest.

    Raises:
      UnfinishedCheckpoint: it has no manifest.
      DamagedCheckpoint: the manifest or a file is missing, unreadable or changed; the message names it.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        content = {name: manifest[name] for name in ("meta", "files")}
        is_intact = manifest["sha256"] == _digest_of(content)
    except FileNotFoundError:
        raise UnfinishedCheckpoint(
            f"checkpoint {path} has no {_MANIFEST}: it was stopped while being written"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {_MANIFEST} cannot be read ({e})") from e
    if not is_intact:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {_MANIFEST} was changed (SHA-256 differs)")
    for name, expected in manifest["files"].items():
        try:
            actual = _digest(path / name)
        except OSError as e:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} cannot be read ({e.strerror})") from e
        if actual != expected:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} was changed (SHA-256 differs)")


def read_meta(path: Path) -> dict[str, Any]:
    """Returns the meta of a checkpoint, with upgraded configs."""
    return upgrade_record(json.loads((path / _MANIFEST).read_text())["meta"])


def _digest_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> list[str]:
    names = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    return sorted(name for name in names if not name.startswith(_MANIFEST))


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
