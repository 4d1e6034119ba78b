"""The request to stop, which long work polls; core.app sets it on Ctrl-C and SIGTERM."""

from __future__ import annotations

import threading


class Stop(threading.Event):
    """Set when the run should stop; `exit_status` says what a shell expects then."""

    exit_status = 0


class Stopped(Exception):
    """Raised by long work that finds its `Stop` set."""
