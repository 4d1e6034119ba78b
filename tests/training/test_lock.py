"""The lock of a workdir: a living holder keeps it, a dead one is replaced, on this machine and on others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from seqdigits.core import interrupt
from seqdigits.core.errors import TryAgain, UserError
from seqdigits.training import lock as lock_module
from seqdigits.training.lock import Lock, is_free


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(lock_module, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lock_module, "STALE_SECONDS", 1)
    monkeypatch.setattr(lock_module, "_POLL_SECONDS", 0.05)


def write(folder, **changes):
    """A lock of a process that has ended, with changes."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    holder = {"token": "x", "host": "there", "machine": lock_module._machine(), "pid": ended.pid, "started": "1"}
    (folder / "lock").write_text(json.dumps({**holder, **changes}))


def test_lock_is_held_until_released(tmp_path):
    first = Lock(tmp_path)
    with pytest.raises(UserError, match=f"in use by another run: process {os.getpid()} on"):
        Lock(tmp_path)
    first.release()
    assert not (tmp_path / "lock").exists()
    Lock(tmp_path).release()


def test_dead_holder_on_this_machine_is_replaced_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(lock_module, "STALE_SECONDS", 1000)
    write(tmp_path)
    Lock(tmp_path).release()
    assert "taking over the workdir from process" in capsys.readouterr().out


def test_reused_process_number_is_not_the_holder(tmp_path):
    write(tmp_path, pid=os.getpid(), started="1")
    Lock(tmp_path).release()


def test_zombie_is_not_a_holder(tmp_path):
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    while lock_module._start_time(zombie.pid) is not None:
        threading.Event().wait(0.01)
    assert os.path.exists(f"/proc/{zombie.pid}"), "its parent has not waited for it"
    write(tmp_path, pid=zombie.pid, started="1")
    Lock(tmp_path).release()
    zombie.wait()


def test_lock_of_a_faster_process_is_put_back(tmp_path, monkeypatch):
    """Of two processes that see a dead holder, the second one renames the new lock of the first."""
    write(tmp_path)
    stale = (tmp_path / "lock").read_text()
    first = Lock(tmp_path)
    contents = iter([stale])
    content = lock_module._content
    monkeypatch.setattr(lock_module, "_content", lambda path: next(contents, None) or content(path))
    with pytest.raises(UserError, match=f"in use by another run: process {os.getpid()}"):
        Lock(tmp_path)
    first.check()
    assert json.loads((tmp_path / "lock").read_text())["token"] == first.token
    first.release()
    assert list(tmp_path.iterdir()) == []


def test_living_process_of_this_machine_keeps_the_lock(tmp_path):
    write(tmp_path, pid=os.getpid(), started=lock_module._start_time(os.getpid()))
    with pytest.raises(UserError, match="in use by another run"):
        Lock(tmp_path)


def test_silent_holder_on_another_machine_is_replaced(tmp_path, capsys):
    write(tmp_path, machine="other", pid=os.getpid())
    Lock(tmp_path).release()
    assert "on another machine: waiting 1 s" in capsys.readouterr().err


def test_beating_holder_on_another_machine_keeps_the_lock(tmp_path):
    """With the status of a run that may be tried again: the other machine may be about to be taken away."""
    write(tmp_path, machine="other")
    timer = threading.Timer(0.3, write, [tmp_path], {"machine": "other", "beat": 1})
    timer.start()
    with pytest.raises(TryAgain, match="in use by another run: process .* on there"):
        Lock(tmp_path)
    timer.join()


def test_watching_another_machine_ends_when_the_command_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "STALE_SECONDS", 1000)
    monkeypatch.setattr(interrupt, "command", interrupt.Stop())
    write(tmp_path, machine="other")
    timer = threading.Timer(0.2, interrupt.command.request, [130])
    timer.start()
    with pytest.raises(interrupt.Stopped):
        Lock(tmp_path)
    assert json.loads((tmp_path / "lock").read_text())["machine"] == "other"


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"'])
def test_empty_or_damaged_lock_is_replaced(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    Lock(tmp_path).release()


def test_holder_beats(tmp_path):
    held = Lock(tmp_path)
    first = (tmp_path / "lock").read_text()
    for _ in range(200):
        if (tmp_path / "lock").read_text() != first:
            break
        threading.Event().wait(0.05)
    else:
        raise AssertionError("the lock does not beat")
    held.check()
    held.release()


def test_check_refuses_after_a_takeover(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "BEAT_SECONDS", 1000)
    held = Lock(tmp_path)
    write(tmp_path)
    with pytest.raises(UserError, match="was taken over by process .* because this run was suspended"):
        held.check()
    held.release()
    assert (tmp_path / "lock").exists(), "the lock of the other run stays"


def test_holder_ends_after_a_takeover(tmp_path):
    code = (
        "import sys, time; sys.argv = ['x']\n"
        "from pathlib import Path\n"
        "from seqdigits.training import lock\n"
        "lock.BEAT_SECONDS = 0.1\n"
        f"held = lock.Lock(Path({str(tmp_path)!r}))\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    write(tmp_path)
    _, error = holder.communicate(timeout=30)
    assert holder.returncode == 2
    assert "was taken over" in error


def test_one_of_many_takes_over(tmp_path):
    write(tmp_path, machine="other")
    results = []

    def take():
        try:
            results.append(Lock(tmp_path))
        except (UserError, TryAgain) as e:
            results.append(e)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    locks = [result for result in results if isinstance(result, Lock)]
    assert len(results) == 8
    assert len(locks) == 1
    locks[0].release()


def test_a_lock_is_free_without_a_holder_and_after_its_end_on_this_machine(tmp_path):
    assert is_free(tmp_path / "lock")
    held, other = Lock(tmp_path), Lock(tmp_path, "another")
    assert not is_free(tmp_path / "lock")
    held.release()
    assert is_free(tmp_path / "lock")
    assert not is_free(tmp_path / "another")
    other.release()
    write(tmp_path)
    assert is_free(tmp_path / "lock")
    write(tmp_path, machine="other")  # only watching the file tells
    assert not is_free(tmp_path / "lock")
