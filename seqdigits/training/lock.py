"""The lock of a workdir, a file that works on local disks, NFS and mounted buckets alike: it does not rely on flock.

`W/lock` names its holder, who rewrites it every BEAT_SECONDS. A holder on the same machine whose process has ended is
replaced at once. Whether a holder on another machine still runs is seen by watching the file: no clocks are compared,
so that they may differ or jump.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from seqdigits.core import interrupt
from seqdigits.core.errors import TryAgain, UserError
from seqdigits.core.files import write_atomically

BEAT_SECONDS = 10
STALE_SECONDS = 60
"""A lock of another machine that does not change for so long is taken over."""
_POLL_SECONDS = 1


class InUse(UserError):
    """Another run on this machine holds the workdir."""


class InUseElsewhere(TryAgain):
    """A run on another machine holds the workdir. It may soon be taken away, so that another try is worthwhile."""


class Lock:
    """Holds `W/lock` from its creation until `release`."""

    def __init__(self, workdir: Path, name: str = "lock"):
        """Takes the lock.

        Args:
          workdir: W.
          name: of another lock in the same folder.

        Raises:
          InUse: another run on this machine holds it.
          InUseElsewhere: a run on another machine holds it.
          UserError: it cannot be written.
          Stopped: the command is to stop, and another machine's holder was being watched.
        """
        self._path = workdir / name
        self._workdir = workdir
        self._holder = {
            "token": secrets.token_hex(8),
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": _start_time(os.getpid()),
            "command": sys.argv,
        }
        self._released = threading.Event()
        while not self._create():
            self._wait_until_stale()
        self._beats = threading.Thread(target=self._beat, daemon=True, name="lock")
        self._beats.start()

    @property
    def token(self) -> str:
        """A random name of this holder, 16 hexadecimal digits."""
        return str(self._holder["token"])

    def check(self) -> None:
        """Checks that the lock was not taken over, to be called before writing what cannot be taken back.

        Raises:
          UserError: another run took it over, because this process was suspended for more than STALE_SECONDS.
        """
        holder = _read(self._path)
        if holder is not None and holder.get("token") != self.token:
            raise UserError(
                f"--workdir {self._workdir} was taken over by {_name(holder)}, because this run was suspended for more than "
                f"{STALE_SECONDS} s. It ends here; nothing of the other run is changed."
            )

    def release(self) -> None:
        """Removes the lock if it is still held."""
        self._released.set()
        self._beats.join()
        holder = _read(self._path)
        if holder is not None and holder.get("token") == self.token:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _create(self) -> bool:
        """Creates the file; returns False if it exists."""
        try:
            with self._path.open("x") as file:
                file.write(json.dumps({**self._holder, "beat": 0}))
            written = _read(self._path)
            return written is None or written.get("token") == self.token  # some mounted buckets create a file twice
        except FileExistsError:
            return False
        except OSError as e:
            raise UserError(f"{self._path} cannot be written: {e.strerror}.") from e

    def _wait_until_stale(self) -> None:
        """Removes the lock of a holder that has ended.

        Raises:
          InUse, InUseElsewhere: the holder still runs.
          Stopped: see __init__.
        """
        content = _content(self._path)
        holder = _parse(content)
        if holder is not None and holder.get("machine") == self._holder["machine"]:
            if _is_running(holder):
                raise self._in_use(holder)
        else:
            # An empty file is that of an older version, or of a process that ended while it created the file.
            seconds = 2 if holder is None else STALE_SECONDS
            if holder is not None:
                print(
                    f"{self._path} is held by {_name(holder)}, on another machine: waiting {seconds} s to see whether that "
                    "still runs",
                    file=sys.stderr,
                    flush=True,
                )
            # Random, so that of several processes that wait, one is first and the others see its file.
            deadline = time.monotonic() + seconds + random.uniform(0, _POLL_SECONDS)
            while (left := deadline - time.monotonic()) > 0:
                if interrupt.command.wait(min(left, _POLL_SECONDS)):
                    raise interrupt.Stopped
                if self._is_gone(content):
                    return
        # Of several processes that take the lock over at the same time, one renames it.
        if self._is_gone(content):
            return
        old = self._path.with_name(f"{self._path.name}.{self.token}")
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(old)
            taken = _content(old)
            if taken != content:  # another process was faster and holds the lock by now
                with contextlib.suppress(OSError):
                    os.link(old, self._path)
                old.unlink()
                raise self._in_use(_parse(taken) or {})
            old.unlink()
            if holder is not None:
                print(f"taking over the workdir from {_name(holder)}, which has ended", flush=True)

    def _is_gone(self, content: str | None) -> bool:
        """Returns whether the file is gone; `content` is what it had.

        Raises:
          InUse, InUseElsewhere: its content has changed, so that its holder still runs.
        """
        now = _content(self._path)
        if now not in (None, content):
            raise self._in_use(_parse(now) or {})
        return now is None

    def _in_use(self, holder: dict[str, Any]) -> Exception:
        """Returns the error for a living holder."""
        kind = InUse if holder.get("machine") == self._holder["machine"] else InUseElsewhere
        return kind(
            f"--workdir {self._workdir} is in use by another run: {_name(holder)}. Wait until it ends, or name another "
            "workdir."
        )

    def _beat(self) -> None:
        """Rewrites the file until the lock is released; ends this process if the lock was taken over."""
        beat = 0
        while not self._released.wait(BEAT_SECONDS):
            beat += 1
            try:
                self.check()
                if not self._released.is_set():
                    write_atomically(self._path, json.dumps({**self._holder, "beat": beat}))
            except UserError as e:
                os.write(2, f"\nerror: {e}\n".encode())
                if interrupt.command.announce is not None:
                    interrupt.command.announce(2)
                os._exit(2)
            except OSError:
                continue  # a file server may be away for some seconds


def is_free(path: Path) -> bool:
    """Returns whether a lock can be taken at once: nobody holds it, or a process of this machine that has ended."""
    content = _content(path)
    holder = _parse(content)
    if content is None or holder is None:
        return content is None
    return holder.get("machine") == _machine() and not _is_running(holder)


def _machine() -> str:
    """Returns what identifies this boot of this machine and, in containers, the space of process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _start_time(pid: int) -> str | None:
    """Returns when a process started, in ticks since boot; "" where that is unknown; None if it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # a process that ended, and whose parent has not noticed
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return ""  # it runs, as another user
    return ""


def _is_running(holder: dict[str, Any]) -> bool:
    started = _start_time(holder["pid"]) if isinstance(holder.get("pid"), int) else None
    return started is not None and started == holder.get("started")


def _content(path: Path) -> str | None:
    """Returns the content of the lock; None if there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _parse(content: str | None) -> dict[str, Any] | None:
    try:
        holder = json.loads(content or "")
    except ValueError:
        return None
    return holder if isinstance(holder, dict) else None


def _read(path: Path) -> dict[str, Any] | None:
    return _parse(_content(path))


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
