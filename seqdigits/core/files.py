"""Files and folders: atomic writes, SHA-256, where data lies."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from seqdigits.core.errors import UserError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a whole file or nothing: a reader, or a crash, never meets half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)


def make_folder(path: Path, flag: str = "--workdir") -> None:
    """Makes a folder that a flag names, or one in it, and sees that it can be written to.

    Raises:
      UserError: it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as e:
        raise UserError(f"{flag}: {path} cannot be used: {e.strerror}. Name a folder that can be written.") from e


def sha256(file: Path) -> str:
    """Of a file, read in pieces."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def data_folder(folder: str) -> Path:
    """`folder`, or where it is empty $SEQDIGITS_DATA, or ~/.cache/seqdigits."""
    return Path(folder or os.environ.get("SEQDIGITS_DATA") or "~/.cache/seqdigits").expanduser()
