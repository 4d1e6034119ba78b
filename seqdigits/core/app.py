"""Runs a command: installs signal handling, then imports the modules that the command needs.

The first Ctrl-C or SIGTERM finishes the step, saves, and stops; a second one stops at once.

Python's own handlers do not run while XLA compiles. The signals are therefore blocked, and a thread waits for them.
Threads inherit the signal mask, so `run` blocks the signals before it imports the module of the command, and JAX
with it.
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
    """Runs a command and exits with its status.

    The status is 0 on success, 2 after a UserError, whose message is printed, and 130 or 143 after a signal.

    Args:
      target: "package.module:function"; the function takes a Stop.
    """
    stop = install_signal_handling()
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


def install_signal_handling() -> Stop:
    """Blocks the signals in this thread and all later ones, and starts a thread that waits for them."""
    stop = Stop()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait, args=(stop,), daemon=True, name="signals").start()
    return stop


def _wait(stop: Stop) -> None:
    received = signal.sigwait(_SIGNALS)
    stop.exit_status = 128 + received
    stop.set()
    os.write(
        2, b"\nstopping: finishing this step and saving. Press Ctrl-C again to stop at once; saved work is kept.\n"
    )
    received = signal.sigwait(_SIGNALS)
    os.write(2, b"\nstopped at once; rerun the same command to resume from the last checkpoint.\n")
    os._exit(128 + received)


if __name__ == "__main__":  # worker processes run python -m seqdigits.core.app package.module:function
    run(sys.argv.pop(1))
