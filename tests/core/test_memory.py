"""Memory that a process keeps."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import resource
    import numpy as np
    from seqdigits.core.memory import keep_freed_memory

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(25_000_000)  # 200 MB
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    first = faults()
    again = faults()
    keep_freed_memory()
    faults()
    print(first, again, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_memory_is_used_again_without_page_faults():
    """Pages have 4 kB, or 2 MB where the kernel gives large ones: 200 MB are 48,829, or 96."""
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, check=True
    )
    first, again, kept = map(int, output.stdout.split())
    assert first > 90
    assert again > 90
    assert kept < 20
