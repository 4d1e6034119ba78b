"""The chaos command: runs that are killed at random moments end with the bits of an undisturbed run."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    ("rounds", "optimize"),
    [pytest.param(3, False, marks=pytest.mark.slow), pytest.param(50, True, marks=pytest.mark.soak)],
)
def test_killed_runs_end_as_undisturbed_ones(rounds, optimize):
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "0" if optimize else "1"}
    command = [sys.executable, "-m", "tests.chaos", "--rounds", str(rounds)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{rounds} passed, 0 failed"
    assert len(re.findall(r"^round \d+/\d+ passed .*killed at .*training again after", done.stdout, re.M)) >= 1
