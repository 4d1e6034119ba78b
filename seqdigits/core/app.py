"""Runs a command: installs signal handling, then imports the modules that the command needs.

- The first Ctrl-C finishes the step, saves, and stops; a second one stops at once.
- SIGTERM and SIGUSR1, which platforms send before they take a machine away, do the same. The process ends after
  $SEQDIGITS_GRACE_SECONDS (default 25, because most platforms kill after 30), even if the step was not finished.

Python's own handlers do not run while XLA compiles. The signals are therefore blocked, and a thread waits for them.
Threads inherit the signal mask, so `run` blocks the signals before it imports the module of the command, and JAX
with it.
"""

from __future__ import annotations

import errno
import importlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from typing import NoReturn, TextIO

from seqdigits.core import interrupt
from seqdigits.core.arguments import seconds_from_environment
from seqdigits.core.errors import Help, TryAgain, UserError
from seqdigits.core.files import FULL_DISK_ERRORS
from seqdigits.core.interrupt import RESUMABLE, Stop, Stopped
from seqdigits.core.memory import share_one_heap

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_INTERRUPTED = 128 + signal.SIGINT
_PEER_SECONDS = 15
"""After a failed collective operation: the time in which parallel.distributed reports the process that was lost."""


def run(target: str) -> NoReturn:
    """Runs a command and exits with its status; docs/running.md has the table.

    The status is 0 when all is done, 1 when some items failed or after a bug, 2 after a UserError, whose message is
    printed, 130 after Ctrl-C, RESUMABLE after SIGTERM, SIGUSR1 or a TryAgain, and 141 when the program that reads the
    output has ended.

    Args:
      target: "package.module:function"; the function takes a Stop, and may raise SystemExit(1).
    """
    if sys.stderr is None:  # it was closed: else print would write errors to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 # until the process ends
    stop = interrupt.command
    status = _run(target, stop)
    if stop.announce is None:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    stop.announce(status)
    os._exit(status)  # JAX would wait at its exit for other processes, even for those that were lost


def _run(target: str, stop: Stop) -> int:
    """Runs a command and returns its status; see run."""
    try:
        status = _run_command(target, stop)
        if sys.stdout is not None:
            sys.stdout.flush()  # Python would flush it at exit, where an error has no status
    except Exception as e:
        known = _status_of(e) if isinstance(e, OSError) else None
        if known is not None:
            return known
        if stop.announce is None:
            raise
        time.sleep(_PEER_SECONDS)  # the process ends here if the failure of another one is the cause
        traceback.print_exc()
        return 1
    return status


def _run_command(target: str, stop: Stop) -> int:
    """Runs a command, prints the message of its end, and returns its status."""
    try:
        share_one_heap()
        _handle_signals(stop, seconds_from_environment("SEQDIGITS_GRACE_SECONDS", 25))
        module, _, function = target.partition(":")
        command = getattr(importlib.import_module(module), function)
        if stop.is_set():
            raise Stopped
        command(stop)
    except Help as e:
        print(e)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as e:
        library = (e.name or "seqdigits").partition(".")[0]
        if library == "seqdigits":
            raise
        print(
            f"error: this command needs the Python module {library}, which is not installed. To install all that seqdigits "
            "needs: pip install seqdigits; in its source tree: make env.",
            file=sys.stderr,
        )
        return 2
    except TryAgain as e:
        print(f"stopped: {e}", file=sys.stderr)
        return RESUMABLE
    except Stopped:
        return stop.exit_status
    except SystemExit as e:
        if not isinstance(e.code, int):
            raise
        return e.code
    # A command that does not poll `stop` ends when it is done. Ctrl-C should end a loop in a shell even then.
    return stop.exit_status if stop.exit_status == _INTERRUPTED else 0


_NO_ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
"""The numbers of the errors of a path that this user cannot use."""


def _status_of(error: OSError) -> int | None:
    """Returns the status after output that cannot be written, or a full disk, with a message; None for other errors."""
    if _discard_lost_output():
        if isinstance(error, BrokenPipeError):  # for example of `head`, which has seen enough
            return 128 + signal.SIGPIPE
        print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    if error.errno in _NO_ACCESS_ERRORS and error.filename:
        print(
            f"error: {error.filename}: {error.strerror}. Name another one, or change its permissions.", file=sys.stderr
        )
        return 2
    if error.errno not in FULL_DISK_ERRORS:
        return None
    where = f"{error.filename} cannot be written" if error.filename else "a file cannot be written"
    print(
        f"error: {where}: {error.strerror}. Make room there, or make it writable, and rerun the same command.",
        file=sys.stderr,
    )
    return 2


def _discard_lost_output() -> bool:
    """Discards what is printed from now on where it cannot be written; returns whether there is such output.

    Python flushes once more at exit, and would print an error.
    """
    lost = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_lost(stream)]
    for stream in lost:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(lost)


def _is_lost(stream: TextIO) -> bool:
    """Returns whether the output of a stream cannot be written: its reader has ended, or its disk is full."""
    try:
        stream.flush()
        os.write(stream.fileno(), b"")  # with PYTHONUNBUFFERED nothing is left to flush
    except OSError:
        return True
    poll = select.poll()  # to a pipe, nothing can always be written
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _handle_signals(stop: Stop, grace: float) -> None:
    """Blocks the signals in this thread and all later ones, and starts a thread that waits for them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait, args=(stop, grace), daemon=True, name="signals").start()


def _wait(stop: Stop, grace: float) -> None:
    """Waits for signals. Platforms repeat SIGTERM and SIGUSR1; only Ctrl-C stops at once when it is repeated."""
    deadline: float | None = None
    is_asked = False
    while True:
        if deadline is None:
            received: int | None = signal.sigwait(_SIGNALS)
        else:
            info = signal.sigtimedwait(_SIGNALS, max(deadline - time.monotonic(), 0))
            received = None if info is None else info.si_signo
        if received is None:
            again = "; the same command resumes from the last checkpoint" if stop.saves else ""
            os.write(2, f"\nstopped at the end of the grace period{again}.\n".encode())
            os._exit(stop.exit_status)
        if received == signal.SIGINT and is_asked:
            again = "; rerun the same command to resume from the last checkpoint" if stop.saves else ""
            os.write(2, f"\nstopped at once{again}.\n".encode())
            os._exit(128 + received)
        if received != signal.SIGINT and deadline is None:
            deadline = time.monotonic() + grace
        if is_asked:
            continue
        is_asked = True
        stop.request(128 + received if received == signal.SIGINT else RESUMABLE)
        how = "Press Ctrl-C again to stop at once" if received == signal.SIGINT else f"This takes at most {grace:g} s"
        what = f"finishing this step and saving. {how}; saved work is kept" if stop.saves else f"ending. {how}"
        os.write(2, f"\nstopping: {what}.\n".encode())


if __name__ == "__main__":  # worker processes run this module, with package.module:function as argument
    run(sys.argv.pop(1))
