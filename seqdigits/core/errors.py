"""What ends a command without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Names what is wrong (key, value), what is allowed, and the cure.

    `python -m seqdigits.*` prints it as one `error: ...` and exits with 2. Everything else is a defect of ours and keeps
    its traceback.
    """


class Help(Exception):
    """Asked for with --help; its text is the answer."""


def short(e: Exception) -> str:
    """What an exception says, or its name, bounded."""
    return (str(e) or type(e).__name__)[:300]
