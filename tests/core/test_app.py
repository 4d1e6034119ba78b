"""How commands end: their status and what they print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import ROOT


def start(tmp_path, body, **environment):
    script = tmp_path / "command.py"
    script.write_text(
        "import os, sys, time\nfrom seqdigits.core import app\nfrom seqdigits.core.errors import *\n"
        "from seqdigits.core.interrupt import Stopped\n\n\ndef main(stop):\n"
        + textwrap.indent(textwrap.dedent(body), "    ")
        + "\n\napp.run('__main__:main')\n"
    )
    return subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    output, error = process.communicate(timeout=60)
    return process.returncode, output, error


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("pass", 0, ""),
        ("raise SystemExit(1)", 1, ""),
        ("raise UserError('no')", 2, "error: no\n"),
        ("raise TryAgain('gone')", 75, "stopped: gone\n"),
        ("raise OSError(28, 'No space left on device', 'W/x')", 2, "error: W/x cannot be written: No space left"),
        ("raise PermissionError(13, 'Permission denied', 'W')", 2, "error: W: Permission denied. Name another one"),
        ("raise FileNotFoundError(2, 'No such file', 'W')", 1, "Traceback"),
        ("raise ValueError('bug')", 1, "Traceback"),
        ("stop.announce = print; app._PEER_SECONDS = 0; raise ValueError('bug')", 1, "Traceback"),
        ("stop.announce = print; app._PEER_SECONDS = 0; raise FileNotFoundError('bug')", 1, "Traceback"),
        ("import no_such_library.part", 2, "error: this command needs the Python module no_such_library, which is not"),
        ("import seqdigits.no_such_module", 1, "Traceback"),
        ("raise BrokenPipeError(32, 'Broken pipe')", 1, "Traceback"),  # of something else than the output
    ],
)
def test_status_of_each_end(tmp_path, body, status, message):
    code, output, error = ended(start(tmp_path, body))
    assert code == status
    assert error.startswith(message)
    assert (output == f"{status}\n") == ("announce" in body), "other processes are told"


@pytest.mark.parametrize(
    "body", ["for i in range(100_000):\n    print(i)", "print(0); time.sleep(1)", "time.sleep(1); raise Help('usage')"]
)
def test_closed_output_ends_without_a_traceback(tmp_path, body):
    process = start(tmp_path, body)
    process.stdout.close()
    error = process.stderr.read()
    assert (process.wait(timeout=60), error) == (141, "")


def test_broken_pipe_of_a_worker_is_a_bug(tmp_path):
    code, _, error = ended(start(tmp_path, "ends = os.pipe(); os.close(ends[0]); os.write(ends[1], b'x')"))
    assert code == 1
    assert error.startswith("Traceback")


WAITS = """
print("waiting", flush=True)
while not stop.is_set():
    time.sleep(0.01)
{}
raise Stopped
"""


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ([signal.SIGTERM], 75),
        ([signal.SIGUSR1], 75),
        ([signal.SIGINT], 130),
        ([signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM], 75),
        ([signal.SIGINT, signal.SIGTERM], 130),
    ],
)
def test_signals_stop_in_order(tmp_path, numbers, status):
    """Platforms repeat their signals, and are not to cut the save short."""
    process = start(tmp_path, WAITS.format("time.sleep(0.5); print('saved')"))
    assert process.stdout.readline() == "waiting\n"
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    code, output, error = ended(process)
    assert (code, output) == (status, "saved\n")
    assert error.count("stopping:") == 1


def test_second_ctrl_c_stops_at_once(tmp_path):
    process = start(tmp_path, WAITS.format("time.sleep(60)"))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, _, error = ended(process)
    assert code == 130
    assert "stopped at once.\n" in error, "nothing was trained that could be resumed"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_command_that_does_not_stop_is_finished(tmp_path, number, status):
    """Ctrl-C still ends a loop in a shell; a platform does not start again what is done."""
    process = start(tmp_path, "print('waiting', flush=True); time.sleep(0.5); print('done')")
    process.stdout.readline()
    process.send_signal(number)
    code, output, error = ended(process)
    assert (code, output) == (status, "done\n")
    assert "Traceback" not in error


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_ended_is_no_error(tmp_path, stream, unbuffered):
    process = start(
        tmp_path,
        f"time.sleep(0.3)\nfor _ in range(100_000):\n    print('line', file=sys.{stream})",
        PYTHONUNBUFFERED=unbuffered,
    )
    getattr(process, stream).close()
    other = process.stderr if stream == "stdout" else process.stdout
    assert other.read() == ""
    assert process.wait(60) == 141


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_grace_period_ends_what_does_not_stop(tmp_path, number, ends):
    process = start(tmp_path, WAITS.format("time.sleep(3)"), SEQDIGITS_GRACE_SECONDS="0.5")
    process.stdout.readline()
    process.send_signal(number)
    began = time.monotonic()
    code, _, error = ended(process)
    assert code == (75 if ends else 130)
    assert (time.monotonic() - began < 2.5) == ends
    assert ("end of the grace period" in error) == ends


def test_signal_before_the_command_starts_stops_it(tmp_path):
    process = start(tmp_path, "print('started')", SEQDIGITS_GRACE_SECONDS="x")
    assert ended(process)[0] == 2
    script = "import signal, os\nfrom seqdigits.core import app\n"
    script += "import importlib, time\nfrom types import SimpleNamespace\nload = importlib.import_module\n"
    script += "def slow(*x):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(0.5)\n    return load(*x)\n"
    script += "app.importlib = SimpleNamespace(import_module=slow)\n\n\ndef main(stop):\n    print('started')\n\n\napp.run('__main__:main')\n"
    (tmp_path / "early.py").write_text(script)
    process = subprocess.run(
        [sys.executable, str(tmp_path / "early.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 75
    assert "started" not in process.stdout
