"""Reports a workdir that cannot be written any more: a full disk, a quota, a file system that has become read-only."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from seqdigits.checkpoint.layout import all_steps, checkpoints_folder
from seqdigits.checkpoint.manifest import DamagedCheckpoint, verify
from seqdigits.core.errors import UserError
from seqdigits.core.files import FULL_DISK_ERRORS


@contextlib.contextmanager
def explain_full_disk(workdir: Path) -> Iterator[None]:
    """Raises a UserError in place of an exception that says that a file of the workdir could not be written.

    Orbax and TensorBoard write in threads of their own, and raise the exception later, in a call of this thread. What they
    print of it before is dropped: several tracebacks of one reason.

    Raises:
      UserError: names the workdir, the reason, what the run has kept, and what to do.
    """
    try:
        with _silenced():
            yield
    except UserError:
        raise
    except Exception as e:
        reason = _reason(e)
        if reason is None:
            raise
        step = _newest_step(checkpoints_folder(workdir))
        kept = "No checkpoint was written yet" if step is None else f"The checkpoint of step {step:,} is complete"
        raise UserError(
            f"--workdir {workdir} cannot be written: {os.strerror(reason)}. {kept}. {_fix(workdir, reason)} Then rerun the same "
            "command to resume."
        ) from e


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Drops what loggers and threads print of an exception that has a `_reason`."""

    def is_kept(record: logging.LogRecord) -> bool:
        return not (record.exc_info and _reason(record.exc_info[1]) is not None)

    def print_exception(arguments: threading.ExceptHookArgs) -> None:
        if _reason(arguments.exc_value) is None:
            previous(arguments)

    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    previous, threading.excepthook = threading.excepthook, print_exception
    for logger in loggers:
        logger.addFilter(is_kept)
    try:
        yield
    finally:
        threading.excepthook = previous
        for logger in loggers:
            logger.removeFilter(is_kept)


def _newest_step(folder: Path) -> int | None:
    """Returns the newest step that verifies."""
    for step in reversed(all_steps(folder)):
        with contextlib.suppress(DamagedCheckpoint):
            verify(folder / str(step))
            return step
    return None


def _reason(e: BaseException | None) -> int | None:
    """Returns the number of the error that stopped a write, of an exception or of what it was raised from."""
    while e is not None:
        # TensorStore, which writes the arrays of checkpoints, has the number in its message only.
        numbers = re.findall(r"os_error_code='(\d+)'", str(e)) if isinstance(e, ValueError) else []
        for number in (getattr(e, "errno", None), *map(int, numbers)):
            if number in FULL_DISK_ERRORS:
                return number
        e = e.__cause__ or e.__context__
    return None


def _fix(workdir: Path, reason: int) -> str:
    if reason == errno.EROFS:
        return "Make the file system writable."
    if reason == errno.EFBIG:
        return "Raise the limit of the size of files (ulimit -f)."
    names = ("checkpoints", "checkpoints-damaged", "tensorboard")
    sizes = ", ".join(f"{name} {_bytes(workdir / name) / 1e6:,.1f} MB" for name in names if (workdir / name).exists())
    return (
        f"{shutil.disk_usage(workdir).free / 1e6:,.1f} MB are free; the workdir takes: {sizes or 'nothing yet'}. Free some "
        "space: checkpoints-damaged may be deleted, and workdirs of other runs; train.keep_checkpoints = 1 keeps fewer."
    )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
