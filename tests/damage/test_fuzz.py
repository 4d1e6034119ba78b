"""Files of every kind that the program reads, damaged at random: refused, or the same content, in bounded memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.soak)])
def test_damaged_files_are_refused_or_harmless(count, capsys):
    """In a process of its own, whose memory is limited, and which a library written in C may crash."""
    command = [sys.executable, str(ROOT / "tests" / "damage" / "fuzz.py"), "--count", str(count)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert not done.returncode, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    last = done.stdout.splitlines()[-1]
    with capsys.disabled():
        print(f"\n{last}")
    assert re.match(rf"{count} files damaged: .* 0 failures", last)
