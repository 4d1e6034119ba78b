"""Writes the shards of a set with several processes; the bytes do not depend on their number."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import duration
from seqdigits.data.builders.shards import Records, ShardPlan, check_identity, finished_examples, finished_shard
from seqdigits.data.manifest import Shard


def write(
    folder: Path, jobs: list[list[ShardPlan]], records: Records, identity: dict[str, Any], workers: int, stop: Stop
) -> list[Shard]:
    """Writes all shards that are missing in a folder.

    Args:
      folder: folder of the unfinished set; shards that an earlier call finished there are kept.
      jobs: lists of shards; the shards of a list are written in sequence by one process.
      records: yields the content.
      identity: identity of the set, as JSON; must equal the one of an earlier call.
      workers: number of processes.
      stop: ends it early if set; shards finished by then are kept.

    Returns:
      The shards, in the order of `jobs`.

    Raises:
      UserError: the folder cannot be used, or its unfinished set has another identity.
      Stopped: `stop` was set.
    """
    check_identity(folder, identity)
    for path in folder.glob("*.partial"):
        path.unlink(missing_ok=True)  # a worker of a killed command, which lives on for a moment, may rename it
    total = sum(plan.stop - plan.start for job in jobs for plan in job)
    before = finished_examples(folder)
    if before:
        print(f"{folder}: resumed, {before:,} of {total:,} examples are written", flush=True)
    _run_workers(folder, jobs, records, workers, stop, total, before)
    return [finished_shard(folder, plan) for job in jobs for plan in job]


def _run_workers(
    folder: Path, jobs: list[list[ShardPlan]], records: Records, workers: int, stop: Stop, total: int, before: int
) -> None:
    began = reported = time.monotonic()
    with contextlib.ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(workers)]
        running: list[subprocess.Popen[bytes]] = []
        stack.callback(_kill, running)
        for i, error in enumerate(errors):
            running.append(_start_worker(error))
            _send_task(running[-1], (os.getpid(), folder, jobs[i::workers], records))
        while any(process.poll() is None for process in running) or stop.is_set():
            if stop.is_set():
                written = f"{finished_examples(folder):,} of {total:,} examples are written"
                print(f"{written}; rerun the same command to resume.", flush=True)
                raise Stopped
            for process, error in zip(running, errors, strict=True):
                _raise_failure(process, error, folder)
            now = time.monotonic()
            if now - reported > 10:
                reported, done = now, finished_examples(folder)
                rate = (done - before) / (now - began)
                if rate:
                    left = duration((total - done) / rate)
                    print(f"{folder}: {done:,} of {total:,} examples, {rate:,.0f}/s, {left} left", flush=True)
            time.sleep(0.1)
        for process, error in zip(running, errors, strict=True):
            _raise_failure(process, error, folder)


def _start_worker(error: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts a process that computes on one core and no accelerator, and does not receive Ctrl-C.

    It is not a fork, which would deadlock with threads, and not spawned by multiprocessing, which would run the caller's
    script again.
    """
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "seqdigits.core.app", "seqdigits.data.builders.worker:main"]
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stderr=error, start_new_session=True)


def _send_task(process: subprocess.Popen[bytes], task: Any) -> None:
    assert process.stdin is not None, "it is a pipe"
    with contextlib.suppress(BrokenPipeError):  # the process has failed; _raise_failure reports why
        process.stdin.write(pickle.dumps(task))
        process.stdin.close()


def _kill(running: list[subprocess.Popen[bytes]]) -> None:
    """Kills processes; unfinished shards are written again when the command is rerun."""
    for process in running:
        process.kill()
        process.wait()


def _raise_failure(process: subprocess.Popen[bytes], error: IO[bytes], folder: Path) -> None:
    if process.poll() in (None, 0):
        return
    error.seek(0)
    message = error.read().decode(errors="replace").strip()
    if process.returncode == 2 and "error: " in message:
        raise UserError(message.rpartition("error: ")[2])
    if process.returncode < 0:
        raise UserError(
            f"{folder}: a process that writes records was killed by signal {-process.returncode}, perhaps because memory "
            "was exhausted. Rerun the same command to resume; --workers=1 needs less memory."
        )
    raise RuntimeError(f"a process that writes records failed:\n{message}")


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
