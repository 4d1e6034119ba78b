"""Shards of records, written by several processes: the same bytes for any number of them. What is half written is never
taken for whole, and what is whole is not written again."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, sha256, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import duration
from seqdigits.data.builders import tf
from seqdigits.data.manifest import Shard, shard_files

EXAMPLES_A_SHARD = 2_500
"""So many, if nothing else is said: what a kill can cost, and enough files to share among processes."""


@dataclass(frozen=True)
class Piece:
    """A shard that is to be written: records start..stop-1 of a split."""

    name: str
    split: str
    start: int
    stop: int


Records = Callable[[str, int, int], Iterator[bytes]]
"""Gives records start..stop-1 of a split; sent to other processes, so a function of a module or a `partial` of one."""


def pieces(dataset: str, sizes: dict[str, int], shards: int) -> list[Piece]:
    """How splits are cut into shards.

    Args:
      dataset: name of the data set, which files begin with.
      sizes: examples of each split.
      shards: of the largest split, the others in proportion; 0 = so that a shard has EXAMPLES_A_SHARD.

    >>> [p.name for p in pieces("d", {"train": 5, "test": 1}, 2)]
    ['d-train.tfrecord-00000-of-00002', 'd-train.tfrecord-00001-of-00002', 'd-test.tfrecord-00000-of-00001']
    """
    each = -(-max(sizes.values()) // shards) if shards else EXAMPLES_A_SHARD
    result = []
    for split, size in sizes.items():
        count = max(-(-size // each), 1)
        edges = [size * i // count for i in range(count + 1)]
        names = [f"{dataset}-{split}.tfrecord-{i:05}-of-{count:05}" for i in range(count)]
        result += [Piece(name, split, a, b) for name, a, b in zip(names, edges, edges[1:], strict=False)]
    return result


def write(
    folder: Path, jobs: list[list[Piece]], records: Records, identity: dict[str, Any], workers: int, stop: Stop
) -> list[Shard]:
    """Writes all shards into a folder, or what is missing of them.

    Args:
      folder: of the unfinished set; what an earlier call left there is gone on with.
      jobs: lists of shards that one process writes one after another.
      records: gives their content.
      identity: of the set, as JSON; a folder that was begun with another is refused.
      workers: processes.
      stop: ends it early; what is whole by then stays.

    Returns:
      The shards, in the order of `jobs`.

    Raises:
      UserError: the folder cannot be used.
      Stopped: `stop` was set.
    """
    _claim(folder, identity)
    for path in folder.glob("*.partial"):
        path.unlink()
    total = sum(piece.stop - piece.start for job in jobs for piece in job)
    before = _examples(folder)
    if before:
        print(f"{folder}: going on, {before:,} of {total:,} examples are written", flush=True)
    _start(folder, jobs, records, workers, stop, total, before)
    return [_done(folder, piece) for job in jobs for piece in job]


def _start(
    folder: Path, jobs: list[list[Piece]], records: Records, workers: int, stop: Stop, total: int, before: int
) -> None:
    began = said = time.monotonic()
    with contextlib.ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(workers)]
        running: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, running)
        for i, error in enumerate(errors):
            running.append(_worker(error))
            _tell(running[-1], (os.getpid(), folder, jobs[i::workers], records))
        while any(process.poll() is None for process in running) or stop.is_set():
            if stop.is_set():
                print(f"{_examples(folder):,} of {total:,} examples are written; the same command goes on.", flush=True)
                raise Stopped
            for process, error in zip(running, errors, strict=True):
                _refuse_failure(process, error, folder)
            now = time.monotonic()
            if now - said > 10:
                said, done = now, _examples(folder)
                rate = (done - before) / (now - began)
                if rate:
                    left = duration((total - done) / rate)
                    print(f"{folder}: {done:,} of {total:,} examples, {rate:,.0f}/s, {left} left", flush=True)
            time.sleep(0.1)
        for process, error in zip(running, errors, strict=True):
            _refuse_failure(process, error, folder)


def _worker(error: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process of its own, not a fork (threads would hang) and not multiprocessing's spawn (it would run the caller's script
    again). It computes on one core, and on no accelerator; Ctrl-C does not reach it."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "seqdigits.core.app", "seqdigits.data.builders.worker:main"]
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stderr=error, start_new_session=True)


def _tell(process: subprocess.Popen[bytes], task: Any) -> None:
    assert process.stdin is not None, "it is a pipe"
    with contextlib.suppress(BrokenPipeError):  # it has failed, which is said by what it left
        process.stdin.write(pickle.dumps(task))
        process.stdin.close()


def _end(running: list[subprocess.Popen[bytes]]) -> None:
    """What is half written is written anew, so nothing is lost."""
    for process in running:
        process.kill()
        process.wait()


def _refuse_failure(process: subprocess.Popen[bytes], error: IO[bytes], folder: Path) -> None:
    if process.poll() in (None, 0):
        return
    error.seek(0)
    said = error.read().decode(errors="replace").strip()
    if process.returncode == 2 and "error: " in said:
        raise UserError(said.rpartition("error: ")[2])
    if process.returncode < 0:
        raise UserError(
            f"{folder}: a process that writes records was ended from outside (signal {-process.returncode}), for want of "
            "memory perhaps. The same command goes on; with fewer processes: --workers=1."
        )
    raise RuntimeError(f"a process that writes records failed:\n{said}")


def write_job(folder: Path, job: list[Piece], records: Records) -> None:
    """Writes the shards of a job that are not there yet, in order."""
    source: Iterator[bytes] = iter(())
    end = None  # the number of the next record that `source` gives
    for piece in job:
        if _is_done(folder, piece):
            continue
        if piece.start != end:
            source = records(piece.split, piece.start, job[-1].stop)
        end = piece.stop
        # Of a process that was killed with another one beside it, which goes on for a moment, the names must be others.
        partial = folder / f"{piece.name}.{os.getpid()}.partial"
        with _explained(partial):
            with tf.io.TFRecordWriter(os.fspath(partial)) as writer:
                examples = 0
                for record in itertools.islice(source, end - piece.start):
                    writer.write(record)
                    examples += 1
            if examples != end - piece.start:
                raise UserError(
                    f"{piece.name}: {examples:,} of {end - piece.start:,} examples were there. Did data change?"
                )
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            shard = Shard(piece.name, piece.split, examples, partial.stat().st_size, sha256(partial))
            os.replace(partial, folder / piece.name)
            write_atomically(folder / f"{piece.name}.done", json.dumps(asdict(shard)))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, tf.errors.OpError) as e:
        raise UserError(
            f"{path} could not be written: {e}. What is whole by now stays: make room, and the same command goes on."
        ) from e


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else writes into a folder meanwhile.

    Raises:
      UserError: somebody does, or it cannot be used.
    """
    make_folder(folder, "--config.data.records")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder} is being written by another process. Wait for it.") from None
        yield


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    make_folder(folder, "--config.data.records")
    path = folder / "begun.json"
    if path.exists() and json.loads(path.read_text()) != identity:
        raise UserError(f"{folder} was begun otherwise (other shards, or another version). Delete it to begin anew.")
    write_atomically(path, json.dumps(identity))


def _is_done(folder: Path, piece: Piece) -> bool:
    """Whether a shard is there whole: noted as such, and of the bytes that were noted."""
    try:
        shard = _done(folder, piece)
        file = folder / piece.name
        return file.stat().st_size == shard.bytes and sha256(file) == shard.sha256
    except (OSError, ValueError, TypeError):
        return False


def _done(folder: Path, piece: Piece) -> Shard:
    return Shard(**json.loads((folder / f"{piece.name}.done").read_text()))


def _examples(folder: Path) -> int:
    return sum(json.loads(path.read_text())["examples"] for path in folder.glob("*.done"))


def clear_notes(folder: Path) -> None:
    """Removes what only an unfinished set needs."""
    for path in (*folder.glob("*.done"), *folder.glob("*.partial"), folder / "begun.json"):
        path.unlink(missing_ok=True)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Says how much disk a set will take.

    Args:
      folder: where it is to lie; what an earlier call wrote there counts.
      needed: bytes.

    Raises:
      UserError: there is less.
    """
    there = sum(path.stat().st_size for path in shard_files(folder)) if folder.exists() else 0
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    missing = max(needed - there, 0)
    print(f"{folder}: about {_size(needed)} in all, {_size(free)} are free", flush=True)
    if missing * 1.02 + 50e6 > free:
        raise UserError(
            f"{folder} needs {_size(missing)} more, and {_size(free)} are free. Make room, name another folder "
            "with --config.data.records=DIR, or take a smaller form: --config.data.records_form=png."
        )


def _size(number: float) -> str:
    """Of bytes, for a person.

    >>> _size(2_300_000), _size(43_250_000_000)
    ('2 MB', '43.2 GB')
    """
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"


def encode_image(image: np.ndarray, form: str) -> bytes:
    """u8 [H, W, C] as one of record_location.FORMS: PNG; its bytes; or 64-bit little-endian floats, pixel / 255."""
    if form == "raw":
        return image.tobytes()
    if form == "float64":
        return (image / np.float64(255)).astype("<f8").tobytes()
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def serialize(image: bytes, digits: np.ndarray, boxes: np.ndarray, length: int, index: int) -> bytes:
    """One record: a tf.train.Example, its map in one order always, so that the bytes are the same each time."""
    ints = {"digits": digits.tolist(), "length": [length], "index": [index]}
    feature = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in ints.items()}
    feature["boxes"] = tf.train.Feature(float_list=tf.train.FloatList(value=boxes.ravel().tolist()))
    feature["image"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)
