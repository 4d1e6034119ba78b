"""Memory that a process keeps."""

import ctypes
import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import resource, threading
    import numpy as np
    from seqdigits.core.memory import keep_freed_memory, share_one_heap

    share_one_heap()
    end = threading.Event()
    other = threading.Thread(target=lambda: (np.ones(100), end.wait()))  # as the thread of the signals
    other.start()
    keep_freed_memory()

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        thread = threading.Thread(target=lambda: np.ones(12_500_000))  # 100 MB
        thread.start()
        thread.join()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    first = faults()
    print(first, max(faults() for _ in range(4)))
    end.set()
"""


def page_faults(**settings):
    """Returns the page faults of 100 MB, and the most of four more times 100 MB in threads of their own.

    Pages have 4 kB, or 2 MB where the kernel gives large ones: 100 MB are 24,414, or 48.
    """
    names = (
        "GLIBC_TUNABLES",
        "MALLOC_ARENA_MAX",
        "MALLOC_MMAP_MAX_",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
    )
    environment = {name: value for name, value in os.environ.items() if name not in names} | settings
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, check=True, env=environment
    )
    return tuple(map(int, output.stdout.split()))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc")
def test_freed_memory_is_used_again_without_page_faults():
    first, again = page_faults()
    assert first > 40
    assert again < 30


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc")
def test_settings_of_the_user_are_kept():
    _, again = page_faults(MALLOC_TRIM_THRESHOLD_="100000")
    assert again > 40
