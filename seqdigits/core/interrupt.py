"""The request to stop, which long tasks poll. core.app sets it on Ctrl-C and SIGTERM."""

from __future__ import annotations

import threading


class Stop(threading.Event):
    """An event that is set when the command should stop; `exit_status` is the status to exit with then."""

    exit_status = 0


class Stopped(Exception):
    """Raised by a long task when its `Stop` is set."""
