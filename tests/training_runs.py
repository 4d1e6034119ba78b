"""Starts tiny training runs as a shell would, waits for moments of them, and compares what they leave on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # bits are promised on CPUs

import jax

from seqdigits.checkpoint.layout import find_checkpoint, load_raw

ROOT = Path(__file__).resolve().parent.parent
STEPS, LOG_EVERY, SAVE_EVERY, EVALUATE_EVERY = 40, 2, 5, 12  # steps are saved between log lines too, with open sums
EVALUATED = (12, 24, 36, 40)
CONFIG = {
    "data.height": 32,
    "data.width": 64,
    "data.max_length": 2,
    "data.train_examples": 200,
    "data.validation_examples": 100,
    "data.test_examples": 100,
    "model.encoder": "conv 5x5x8 /2, norm, relu, conv 3x3x16 /2, norm, relu",
    "optim.moving_average": 0.99,
    "optim.warmup_steps": 5,
    "optim.decay_steps": STEPS,
    "train.batch_size": 16,
    "train.steps": STEPS,
    "train.log_every": LOG_EVERY,
    "train.checkpoint_every": SAVE_EVERY,
    "evaluate.every": EVALUATE_EVERY,
    "evaluate.batch_size": 20,
    "evaluate.splits": "('validation',)",
    "evaluate.curves": "()",
}
LIMIT = 400.0
"""Seconds after which a moment that was waited for counts as missed, on a loaded machine."""


@dataclass(frozen=True)
class Kind:
    """A kind of run: the number of its processes, and whether it streams records or computes its examples."""

    processes: int = 1
    streamed: bool = False

    def __str__(self) -> str:
        processes = f"{self.processes} process" + ("es" if self.processes > 1 else "")
        return f"{processes}, {'streamed' if self.streamed else 'virtual'}"


def config_flags(kind: Kind, records: Path) -> list[str]:
    """Returns the flags of the tiny config; `records` is the folder that streamed runs read."""
    config: dict[str, Any] = dict(CONFIG)
    if kind.streamed:
        config |= {"data.source": "tfrecord", "data.records": records}
        config |= {f"data.{name}": 0 for name in ("rotation", "zoom", "shear", "shift")}
    return ["--config", str(ROOT / "configs" / "quickstart.py"), *(f"--config.{k}={v}" for k, v in config.items())]


def prepare_records(records: Path) -> None:
    """Writes the records that streamed runs read."""
    command = [sys.executable, "-m", "seqdigits", "prepare", *config_flags(Kind(streamed=True), records), "--shards=4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Failed(Exception):
    """A run did not do what it should."""


class Run:
    """One start of the training command, in all of its processes. Their output is read as it appears.

    Attributes:
      workdir: the folder of the run.
      processes: the processes, by rank.
      began: time of the start, time.monotonic().
    """

    def __init__(self, kind: Kind, workdir: Path, records: Path, cache: Path, *flags: str, **environment: str):
        """Starts the run; `cache` is the folder of compiled programs, `environment` is added to that of the processes."""
        self.kind, self.workdir = kind, workdir
        self._lines: list[list[tuple[float, str]]] = [[] for _ in range(kind.processes)]
        self.processes: list[subprocess.Popen[str]] = []
        env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONUNBUFFERED": "1", **environment}
        command = [sys.executable, "-m", "seqdigits.main", *config_flags(kind, records), "--workdir", str(workdir)]
        coordinator = f"127.0.0.1:{_free_port()}"
        self.began = time.monotonic()
        for rank in range(kind.processes):
            ranks = [f"--coordinator={coordinator}", f"--num_processes={kind.processes}", f"--process_id={rank}"]
            process = subprocess.Popen(
                [*command, *(ranks if kind.processes > 1 else []), *flags],
                cwd=ROOT,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self.processes.append(process)
            threading.Thread(target=self._read, args=(rank,), daemon=True).start()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        """Kills what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _read(self, rank: int) -> None:
        for line in self.processes[rank].stdout or ():
            self._lines[rank].append((time.monotonic(), line.rstrip("\n")))

    def output(self, rank: int | None = None) -> str:
        """Returns what a process, or each process, printed so far, on both streams."""
        if rank is not None:
            return "\n".join(line for _, line in self._lines[rank])
        return "\n".join(f"--- process {rank}\n{self.output(rank)}" for rank in range(len(self.processes)))

    def seen(self, pattern: str) -> float | None:
        """Returns when process 0 first printed a line that matches; None if it has not."""
        return next((at for at, line in list(self._lines[0]) if re.search(pattern, line)), None)

    def is_ready(self) -> bool:
        """Returns whether the imports are done, and data and state are on the devices."""
        return self.seen(r"training to step|steps are done") is not None

    def is_trained(self, step: int) -> bool:
        """Returns whether the log line of this step, or of a later one, was printed."""
        return self.logged() >= step

    def logged(self) -> int:
        """Returns the last step with a log line; 0 if there is none yet."""
        steps = [match for _, line in self._lines[0] if (match := re.match(r"step +([\d,]+)/", line))]
        return int(steps[-1][1].replace(",", "")) if steps else 0

    def resumed_from(self) -> int | None:
        """Returns the step that the run started from; None if its first lines were not printed."""
        for _, line in list(self._lines[0]):
            if match := re.search(r"resumed from step ([\d,]+):|all ([\d,]+) steps are done", line):
                return int((match[1] or match[2]).replace(",", ""))
            if "starting: training to step" in line:
                return 0
        return None

    def evaluations(self) -> int:
        """Returns the number of evaluations that ended."""
        return sum(line.startswith("  validation ") for _, line in list(self._lines[0]))

    def is_evaluating(self, step: int) -> bool:
        """Returns whether the evaluation at this step began and did not end."""
        last = self._lines[0][-1][1] if self._lines[0] else ""
        return self.logged() == step and last.startswith(("step ", "  validation:"))

    def is_reported(self) -> bool:
        """Returns whether the table after the last step was printed."""
        return self.seen(r"^sequence_accuracy") is not None

    def wait_for(self, moment: Callable[[], bool], what: str) -> bool:
        """Waits for a moment; returns False if process 0 ended before.

        Raises:
          Failed: the moment did not come within LIMIT seconds.
        """
        until = time.monotonic() + LIMIT
        while not moment():
            if self.processes[0].poll() is not None:
                time.sleep(0.1)  # its last lines
                return moment()
            if time.monotonic() > until:
                raise Failed(f"{what} was not seen in {LIMIT:.0f} s\n{self.output()}")
            time.sleep(0.001)
        return True

    def signal(self, number: int, ranks: tuple[int, ...] = (0,)) -> float:
        """Sends a signal to processes of the run, all within a millisecond; returns the time."""
        for rank in ranks:
            self.processes[rank].send_signal(number)
        return time.monotonic()

    def statuses(self, limit: float = LIMIT) -> list[int]:
        """Waits until all processes ended; returns their exit statuses.

        Raises:
          Failed: a process still runs after `limit` seconds.
        """
        until = time.monotonic() + limit
        for rank, process in enumerate(self.processes):
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Failed(f"process {rank} still runs after {limit:.0f} s\n{self.output()}") from None
        time.sleep(0.05)  # its last lines
        return [process.returncode for process in self.processes]

    def succeed(self) -> None:
        """Waits for the end of a run that is to be completed.

        Raises:
          Failed: an exit status is not 0.
        """
        statuses = self.statuses()
        if any(statuses):
            raise Failed(f"exit statuses {statuses} instead of 0\n{self.output()}")


def unsealed(workdir: Path) -> list[int]:
    """Returns the steps whose checkpoint is being written, or was when the run was killed."""
    steps = []
    for path in (workdir / "checkpoints").glob("*"):
        name = path.name.partition(".")[0]
        if name.isdecimal() and not (path.suffix == "" and (path / "manifest.json").exists()):
            steps.append(int(name))
    return sorted(steps)


def sealed(workdir: Path) -> list[int]:
    """Returns the steps with a complete checkpoint."""
    return sorted(int(path.parent.name) for path in (workdir / "checkpoints").glob("*[0-9]/manifest.json"))


def digest(workdir: Path) -> str:
    """Returns the SHA-256 over all arrays of the newest checkpoint: names, types, shapes and bytes."""
    state, _ = load_raw(find_checkpoint(workdir, "latest"))
    sha = hashlib.sha256()
    for path, leaf in sorted((jax.tree_util.keystr(p), leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(state)):
        sha.update(f"{path} {leaf.dtype} {leaf.shape}\n".encode())
        sha.update(leaf.tobytes())
    return sha.hexdigest()


def logged_lines(workdir: Path) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl, without the entries that depend on the speed of the machine."""
    entries = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k not in ("images_per_second", "seconds")} for entry in entries]


def difference(workdir: Path, undisturbed: Path) -> str:
    """Returns how the end of a run differs from that of an undisturbed one; "" if it does not."""
    steps = [(line["step"], line["split"]) for line in logged_lines(workdir)]
    expected = [(line["step"], line["split"]) for line in logged_lines(undisturbed)]
    if steps != expected:
        missing = [entry for entry in expected if entry not in steps]
        twice = sorted({entry for entry in steps if steps.count(entry) > 1})
        return f"metrics.jsonl: missing {missing}, repeated {twice}, order {steps}"
    for line, other in zip(logged_lines(workdir), logged_lines(undisturbed), strict=True):
        if line != other:
            names = [name for name in other if line.get(name) != other[name]]
            return f"metrics.jsonl: {names} differ at step {line['step']}, {line['split']}"
    if sealed(workdir)[-1:] != [STEPS]:
        return f"the last checkpoint is not step {STEPS} but {sealed(workdir)}"
    if unsealed(workdir):
        return f"unfinished checkpoints are left over: {unsealed(workdir)}"
    mine, other_digest = digest(workdir), digest(undisturbed)
    return "" if mine == other_digest else f"parameters: SHA-256 {mine[:12]} instead of {other_digest[:12]}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
