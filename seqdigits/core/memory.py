"""How this process asks the operating system for memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of mallopt, from malloc.h of glibc."""


def keep_freed_memory() -> None:
    """Keeps memory that was freed in this process, on Linux with glibc; elsewhere nothing changes.

    On a CPU, XLA allocates the activations and gradients of a training step, often hundreds of megabytes, and frees them at its
    end. glibc would return them to the kernel each time, which hands out each page anew, filled with zeros: that took a
    third of the steps of `strip5_gru`. The process stays as large as it was at its peak.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return
    mallopt(_MMAP_MAX, 0)  # large blocks come from the heap too
    mallopt(_TRIM_THRESHOLD, -1)  # whose end is never returned
    mallopt(_ARENA_MAX, 1)  # one heap for all threads: what one frees, another one takes
