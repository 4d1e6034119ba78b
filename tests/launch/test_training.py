"""launch/local.sh with the real training: two processes, stopped and killed, and resumed to the same result."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import FLAGS, environment, table

ROOT = Path(__file__).resolve().parents[2]


def _start(workdir: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "launch/local.sh", "2", *FLAGS, *flags, f"--workdir={workdir}"],
        cwd=ROOT,
        env=environment() | {"PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read_until(process: subprocess.Popen[str], start: str) -> str:
    """Returns the lines of standard output up to one that begins with `start`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(start):
            return "".join(lines)
    raise AssertionError(f"no line '{start}' in\n{''.join(lines)}\n{process.communicate()[1]}")


def _process(launcher: subprocess.Popen[str], rank: int) -> int:
    """Returns the number in the system of one of the processes that local.sh started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (found,) = [
        int(child)
        for child in children
        if f"SEQDIGITS_PROCESS_ID={rank}\0" in Path(f"/proc/{child}/environ").read_text()
        and "seqdigits.main" in Path(f"/proc/{child}/cmdline").read_text()
    ]
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_stopped_and_killed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = _start(tmp_path / "undisturbed")
    expected, errors = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, errors

    stopped = _start(tmp_path / "run")
    _read_until(stopped, "step      60/")
    stopped.send_signal(signal.SIGTERM)
    rest, errors = stopped.communicate(timeout=120)
    assert stopped.returncode == 75, errors
    assert "rerun the same command to resume" in rest

    killed = _start(tmp_path / "run")
    _read_until(killed, "resumed from step")
    _read_until(killed, "step     240/")
    os.kill(_process(killed, 1), signal.SIGKILL)
    _, errors = killed.communicate(timeout=60)
    assert killed.returncode == 75, errors
    assert "process 1 ended with status 137" in errors

    finished = _start(tmp_path / "run")
    resumed = _read_until(finished, "resumed from step ")
    (step,) = map(int, re.findall(r"^resumed from step (\d+)", resumed, re.MULTILINE))
    assert step in (100, 200, 300), "a checkpoint of the killed run"
    rest, errors = finished.communicate(timeout=600)
    assert finished.returncode == 0, errors
    assert table(resumed + rest) == table(expected)


@pytest.mark.slow
def test_user_error_of_a_real_run_is_status_2(tmp_path: Path) -> None:
    process = _start(tmp_path, "--config.train.steps=-1")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out.strip()) == (2, "")
    assert "error: train.steps" in err
