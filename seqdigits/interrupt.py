"""Ctrl-C and SIGTERM: finish the step, save, and stop. A second one stops at once.

Python's own handlers wait while XLA compiles, so the signals are blocked and a thread waits for them; call `install`
before JAX is imported, for threads take over what is blocked.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from seqdigits.errors import Help, UserError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(threading.Event):
    """Set when the run should stop; `exit_status` says what a shell expects then."""

    exit_status = 0


class Stopped(Exception):
    """Raised by long work that finds its `Stop` set."""


def run(main: Callable[[Stop], None]) -> NoReturn:
    """Runs a command to its end: a UserError is one message and status 2, a signal status 130 or 143."""
    stop = install()
    status = 0
    try:
        main(stop)
    except Help as e:
        print(e)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        status = 2
    except Stopped:
        status = stop.exit_status
    sys.exit(status)


def install() -> Stop:
    """Blocks the signals in this thread and all later ones, and waits for them in a thread."""
    stop = Stop()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait, args=(stop,), daemon=True, name="signals").start()
    return stop


def _wait(stop: Stop) -> None:
    received = signal.sigwait(_SIGNALS)
    stop.exit_status = 128 + received
    stop.set()
    os.write(
        2, b"\nstopping: finishing this step and saving. Once more (Ctrl-C) stops at once; nothing saved is lost.\n"
    )
    received = signal.sigwait(_SIGNALS)
    os.write(2, b"\nstopped at once; the same command goes on from what was saved.\n")
    os._exit(128 + received)
