"""Reads sequences of digits in images and localizes them.

>>> from seqdigits import Reader
>>> Reader.__name__
'Reader'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqdigits.inference.reader import Reader as Reader

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports the Reader when it is first used: the import of the package stays fast."""
    if name == "Reader":
        from seqdigits.inference.reader import Reader

        return Reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
