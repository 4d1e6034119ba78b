"""The process of one engine, which reads pictures in an environment of its own; peers/protocol.py is its other side."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped

_POLL_SECONDS = 0.2
_STDERR_BYTES = 2_000


class MissingEngine(Exception):
    """Raised when the engine is not installed; the message is the worker's."""


class Worker:
    """A running engine.

    Attributes:
      name: of the engine.
      description: its first line, see peers/protocol.py.
    """

    def __init__(self, name: str, command: Sequence[str], root: Path, stop: Stop):
        """Starts the process and waits until it is warmed up.

        Args:
          name: of the engine.
          command: to start it.
          root: the folder that it imports the package from.
          stop: is polled while it works.

        Raises:
          MissingEngine: the engine is not installed.
          UserError: the process cannot be started, or ended.
          Stopped: `stop` was set.
        """
        self.name, self._stop = name, stop
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the process
        path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        except FileNotFoundError as e:
            self._errors.close()
            target = "easyocr" if name == "easyocr" else "peers"
            raise MissingEngine(f"{command[0]} does not exist. Run: make {target}") from e
        except OSError as e:
            raise UserError(f"{name}: {command[0]} cannot be started: {e.strerror}") from e
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._receiver = threading.Thread(target=self._receive, daemon=True, name=name)
        self._receiver.start()
        try:
            self.description = self._next()
            if "missing" in self.description:
                raise MissingEngine(self.description["missing"])
        except BaseException:
            self.close()
            raise

    def read(self, path: Path) -> dict[str, Any]:
        """Returns the answer to one picture, see peers/protocol.py.

        Raises:
          UserError: the process ended.
          Stopped: `stop` was set.
        """
        assert self._process.stdin is not None, "stdin is a pipe"
        with contextlib.suppress(BrokenPipeError):  # _next reports why it ended
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
        return self._next()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._receiver.join()
        assert self._process.stdin is not None, "stdin is a pipe"
        assert self._process.stdout is not None, "stdout is a pipe"
        with contextlib.suppress(BrokenPipeError):  # what it did not take
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def _receive(self) -> None:
        assert self._process.stdout is not None, "stdout is a pipe"
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _next(self) -> dict[str, Any]:
        """Waits for the next line."""
        while not self._stop.is_set():
            try:
                line = self._lines.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if line is None:
                status = self._process.wait()
                self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _STDERR_BYTES))
                tail = self._errors.read().decode(errors="replace").strip()
                raise UserError(
                    f"the worker of {self.name} ended with status {status}:\n{tail}\nThe answers so far are kept; rerun the "
                    "same command to resume."
                )
            return json.loads(line)
        raise Stopped
