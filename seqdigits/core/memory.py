"""How this process asks the operating system for memory: by mallopt, on Linux with glibc.

On a CPU, XLA allocates the activations and gradients of a training step, often hundreds of megabytes, and frees them at its end.
glibc would return them to the kernel each time, which hands out each page anew, filled with zeros: that took a third of the
steps of `strip5_gru`. Elsewhere, and where the environment has settings of glibc's own, nothing changes.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of mallopt, from malloc.h of glibc."""

_SETTINGS = (
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)
"""Variables of the environment by which users change the same."""


def share_one_heap() -> None:
    """Gives all threads one heap, so that what one frees, another one takes; call it before the first thread starts.

    A heap of a thread's own cannot hold large blocks, which would come from the kernel each time.
    """
    _mallopt({_ARENA_MAX: 1})


def keep_freed_memory() -> None:
    """Keeps memory that is freed: the process stays as large as it was at its peak. It needs `share_one_heap`."""
    _mallopt({_MMAP_MAX: 0, _TRIM_THRESHOLD: -1})  # large blocks come from the heap too, and its end is never returned


def _mallopt(values: dict[int, int]) -> None:
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _SETTINGS):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for name, value in values.items():
            mallopt(name, value)
