"""The request to stop, which long tasks poll. core.app sets it on Ctrl-C, SIGTERM and SIGUSR1."""

from __future__ import annotations

import threading
from collections.abc import Callable

RESUMABLE = 75
"""Exit status of a command that was stopped by its platform, and that the same command resumes: EX_TEMPFAIL of
sysexits.h."""


class Stop(threading.Event):
    """An event that is set when the command should stop.

    Attributes:
      exit_status: the status to exit with then; 0 while the event is not set.
      announce: called with the exit status before the process ends, if it is one of several; see
        parallel.distributed.
      saves: whether a run is under way, which saves its step before it ends, and which the same command resumes.
    """

    exit_status = 0
    announce: Callable[[int], None] | None = None
    saves = False

    def request(self, exit_status: int) -> None:
        """Sets the event, with the status to exit with."""
        self.exit_status = exit_status
        self.set()


class Stopped(Exception):
    """Raised by a long task when its `Stop` is set."""


command = Stop()
"""The Stop of the running command, for long tasks that are not passed one."""
