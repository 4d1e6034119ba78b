"""Runs a command: signals first, then the modules that it needs.

Ctrl-C and SIGTERM finish the step, save, and stop. A second one stops at once.

Python's own handlers wait while XLA compiles, so the signals are blocked and a thread waits for them. Threads inherit what is
blocked: `run` therefore blocks them before it imports the command's module, and JAX with it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from typing import NoReturn

from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop, Stopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(target: str) -> NoReturn:
    """Runs `target`, "package.module:function", to its end and exits.

    The function takes a Stop. A UserError is one message and status 2, a signal status 130 or 143.
    """
    stop = install()
    status = 0
    try:
        module, _, function = target.partition(":")
        getattr(importlib.import_module(module), function)(stop)
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


if __name__ == "__main__":  # python -m seqdigits.core.app package.module:function, for worker processes
    run(sys.argv.pop(1))
