"""Files and folders: atomic writes, SHA-256, the data folder."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from seqdigits.core.errors import UserError

FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""The numbers of the errors of a full disk, a quota, a limit of the size of files, and a read-only file system."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file atomically.

    A reader sees the old content or the new one, never a part, even after a crash. Of several processes that write the same
    file at the same time, the last one wins. A symbolic link stays, and what it names is written; a pipe or a device, such as
    /dev/stdout, is written to as it is.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return
    path = Path(os.path.realpath(path))
    unique = f"{os.getpid()}.{secrets.token_hex(4)}"  # the same process number may exist on several machines
    partial = path.with_name(f"{path.name[:50]}.{unique}.partial")  # a long name would become too long for a file
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # else a power failure may leave the new name with an empty file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)  # on a full disk it would take the last bytes
        raise


def write_output(path: Path, content: str | bytes, flag: str) -> None:
    """Writes the file of a command that a flag names, see write_atomically.

    Raises:
      UserError: it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as e:
        raise UserError(f"{flag} {path} cannot be written: {e.strerror}. Name another file, or free some space.") from e


def make_folder(path: Path, flag: str = "--workdir") -> None:
    """Creates a folder and checks that it is writable.

    Args:
      path: the folder.
      flag: the flag that names the folder or its parent, for the error message.

    Raises:
      UserError: the folder cannot be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as e:
        raise UserError(f"{flag}: {path} cannot be used: {e.strerror}. Name a folder that can be written.") from e


def sha256(file: Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal; the file is read in chunks."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def data_folder(folder: str) -> Path:
    """Returns `folder`; if it is empty, $SEQDIGITS_DATA, or else ~/.cache/seqdigits.

    Raises:
      UserError: see expanded.
    """
    return expanded(folder or os.environ.get("SEQDIGITS_DATA") or "~/.cache/seqdigits")


def expanded(path: str | Path) -> Path:
    """Returns a path with the home folder in place of ~ or ~USER.

    Raises:
      UserError: there is no such user, or this one has no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as e:
        raise UserError(f"{path}: there is no home folder of that name. Name the folder in full, or set HOME.") from e
