"""launch/local.sh with stub processes: what it passes on, whom it ends, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "launch"

STUB = """
import os, signal, sys, time
from pathlib import Path
rank = int(os.environ.get("SEQDIGITS_PROCESS_ID", 0))
signals = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
def say(text):
    print(text, flush=True)
Path(f"ready{rank}").write_text(str(os.getpid()))
if os.environ["COUNT"].isdigit():  # no process ends before all have started
    while len(list(Path().glob("ready*"))) < int(os.environ["COUNT"]):
        time.sleep(0.05)
exec(os.environ["STUB"])
"""
WAIT = "say('ready'); received = signal.sigwait(signals); say(f'got {signal.Signals(received).name}'); "


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """`start(N, code, **environment)`: local.sh with processes that run `code` instead of the training."""
    (tmp_path / "seqdigits").mkdir()
    (tmp_path / "seqdigits" / "main.py").write_text(STUB)

    def start(arguments: object, code: str, *args: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SEQDIGITS", "CUDA", "PYTHON"))}
        return subprocess.Popen(
            ["bash", str(LAUNCH / "local.sh"), *str(arguments).split(), *args],
            cwd=tmp_path,
            env=inherited | {"PYTHON": sys.executable, "STUB": code, "COUNT": str(arguments)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def _wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)


def _ready(folder: Path, count: int) -> None:
    _wait_until(lambda: len(list(folder.glob("ready*"))) == count)


def test_processes_share_a_coordinator_and_are_numbered(start: Callable[..., subprocess.Popen[str]]) -> None:
    code = "say(' '.join([os.environ[f'SEQDIGITS_{k}'] for k in ('NUM_PROCESSES', 'PROCESS_ID', 'COORDINATOR')] + sys.argv[1:]))"
    process = start(3, code, "--workdir", "a b")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    count, rank, coordinator, *flags = out.strip().split(maxsplit=3)
    assert (count, rank, flags) == ("3", "0", ["--workdir a b"])
    host, port = coordinator.split(":")
    assert host == "127.0.0.1"
    assert 1024 <= int(port) <= 65535
    assert sorted(err.splitlines()) == [f"[{r}] 3 {r} {coordinator} --workdir a b" for r in (1, 2)]


def test_one_process_needs_no_coordinator(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(1, "say([k for k in os.environ if k.startswith('SEQDIGITS')])", SEQDIGITS_NUM_PROCESSES="4")
    assert process.communicate(timeout=60) == ("[]\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_signals_reach_every_process_once(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, name: str
) -> None:
    """Process 1 stops first; the others must not receive a second signal for that, which would stop them unsaved."""
    status = 130 if name == "SIGINT" else 75
    code = WAIT + f"rank and sys.exit({status}); say(signal.sigtimedwait(signals, 2)); sys.exit({status})"
    process = start(2, code)
    _ready(tmp_path, 2)
    os.killpg(process.pid, getattr(signal, name))  # as a terminal and `kill %1` do
    out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == f"ready\ngot {name}\nNone\n"
    assert f"[1] got {name}" in err


def test_a_failed_process_ends_the_others(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    code = "rank == 1 and sys.exit(3); " + WAIT + "sys.exit(75)"
    process = start(3, code)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out == "ready\ngot SIGTERM\n"
    assert "launch/local.sh: process 1 ended with status 3" in err


def test_a_killed_process_ends_the_others_and_is_resumable(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    code = WAIT + "sys.exit(75)"
    process = start(2, code)
    _ready(tmp_path, 2)
    os.kill(int((tmp_path / "ready0").read_text()), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "[1] got SIGTERM" in err
    assert "launch/local.sh: process 0 ended with status 137" in err


def test_processes_that_do_not_stop_are_killed(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    code = "rank == 0 and sys.exit(75); time.sleep(100)"
    began = time.monotonic()
    process = start(2, code, SEQDIGITS_GRACE_SECONDS="0")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert 4 <= time.monotonic() - began < 20
    assert "which did not stop in 5 seconds" in err


END = """
if status in (134, 137, 139, 143):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    os.kill(os.getpid(), status - 128)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((0, 0), 0),
        ((75, 2), 2),
        ((2, 75), 2),
        ((75, 1), 1),
        ((137, 75), 75),
        ((0, 143), 75),
        ((130, 75), 130),
        ((134, 75), 75),
        ((139, 75), 139),
    ],
)
def test_status_is_the_most_important_one(
    start: Callable[..., subprocess.Popen[str]], statuses: tuple[int, int], expected: int
) -> None:
    code = f"status = {statuses}[rank]{END}"
    process = start(2, code)
    process.communicate(timeout=60)
    assert process.returncode == expected


def test_gpus_are_divided(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(2, "say(os.environ['CUDA_VISIBLE_DEVICES'])", CUDA_VISIBLE_DEVICES="4,5,6,7")
    assert process.communicate(timeout=60) == ("4,5\n", "[1] 6,7\n")


SWEEP = """
name = Path(sys.argv[4]).name
Path(sys.argv[4]).mkdir(exist_ok=True)
running = Path("running")
running.mkdir(exist_ok=True)
(running / name).touch()
say(f"{len(list(running.glob('*')))} running on {os.environ['CUDA_VISIBLE_DEVICES']}: {sys.argv[1:]}")
received = signal.sigtimedwait(signals, float(os.environ["TIME"]))
(running / name).unlink()
sys.exit(75 if received else {"b": 1}.get(name, 0))
"""


@pytest.fixture
def configs(tmp_path: Path) -> list[str]:
    for name in "abcd":
        (tmp_path / f"{name}.py").touch()
    return [f"{name}.py" for name in "abcd"]


def test_sweep_limits_the_runs_at_a_time(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, configs: list[str]
) -> None:
    process = start("sweep 2 runs", SWEEP, *configs, "--", "--config.seed=1", TIME="1", CUDA_VISIBLE_DEVICES="0,1,2,3")
    out, _ = process.communicate(timeout=60)
    logs = [(tmp_path / f"runs/{name}.log").read_text() for name in "abcd"]
    assert process.returncode == 1  # of b, which does not end the others
    assert max(int(log.split()[0]) for log in logs) == 2
    assert [log.split()[3] for log in logs[:2]] == ["0,1:", "2,3:"]
    assert logs[3].strip().endswith("['--config', 'd.py', '--workdir', 'runs/d', '--config.seed=1']")
    assert "b: ended with status 1\n" in out
    assert "d: ended with status 0\n" in out


def test_sweep_stops_and_starts_nothing_more(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, configs: list[str]
) -> None:
    process = start("sweep 2 runs", SWEEP, *configs, TIME="60", CUDA_VISIBLE_DEVICES="0,1")
    _wait_until(lambda: len(list(tmp_path.glob("running/*"))) == 2)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert sorted(file.name for file in (tmp_path / "runs").glob("*.log")) == ["a.log", "b.log"]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (0, {}, "'0' is not an integer from 1"),
        ("--config", {}, "'--config' is not an integer from 1"),
        ("sweep runs a.py", {}, "'runs' is not an integer from 1"),
        ("sweep 2 runs", {}, "no config is given"),
        ("sweep 2 runs a.py", {}, "config a.py: no such file"),
        ("sweep 2 runs seqdigits/main.py ./seqdigits/main.py", {}, "would share the workdir runs/main"),
        (3, {"CUDA_VISIBLE_DEVICES": "0,1"}, "3 processes at a time cannot share 2 GPUs equally"),
        (2, {"SEQDIGITS_GRACE_SECONDS": "long"}, "SEQDIGITS_GRACE_SECONDS is 'long'"),
        (2, {"PYTHON": "no-such-python"}, "PYTHON is 'no-such-python'"),
    ],
)
def test_wrong_use_is_refused(
    start: Callable[..., subprocess.Popen[str]], arguments: object, environment: dict[str, str], message: str
) -> None:
    process = start(arguments, "say('started')", **environment)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert message in err
