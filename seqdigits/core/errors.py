"""Exceptions that end a command without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """An error that the user can fix; its message names the key, the value, what is allowed, and the fix.

    The commands print it as one `error: ...` and exit with status 2. Any other exception is a bug and keeps its
    traceback.
    """


class TryAgain(Exception):
    """What the command needs is not there now, such as another process of the run; the message says what.

    Commands print the message and exit with interrupt.RESUMABLE: the same command may succeed later.
    """


class Help(Exception):
    """Raised for --help; its text is printed."""


def short(e: Exception) -> str:
    """Returns the message of an exception, or its class name if it has none, cut to 300 characters."""
    return (str(e) or type(e).__name__)[:300]
