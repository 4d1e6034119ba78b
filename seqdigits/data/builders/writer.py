"""Writes shards of records with several processes; the bytes do not depend on their number.

An unfinished shard is never mistaken for a finished one, and a finished shard is not written again.
"""

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

EXAMPLES_PER_SHARD = 2_500
"""Default size of a shard. It bounds the work lost in a kill, and gives enough files to share among processes."""


@dataclass(frozen=True)
class ShardPlan:
    """A shard to write: records start..stop-1 of a split."""

    name: str
    split: str
    start: int
    stop: int


Records = Callable[[str, int, int], Iterator[bytes]]
"""Yields records start..stop-1 of a split.

It is pickled and sent to other processes, so it must be a function of a module or a `partial` of one.
"""


def plan_shards(dataset: str, sizes: dict[str, int], shards: int) -> list[ShardPlan]:
    """Returns the shards of all splits.

    Args:
      dataset: name of the data set, the prefix of file names.
      sizes: number of examples of each split.
      shards: number of shards of the largest split, the others in proportion; 0 = EXAMPLES_PER_SHARD per shard.

    >>> [p.name for p in plan_shards("d", {"train": 5, "test": 1}, 2)]
    ['d-train.tfrecord-00000-of-00002', 'd-train.tfrecord-00001-of-00002', 'd-test.tfrecord-00000-of-00001']
    """
    each = -(-max(sizes.values()) // shards) if shards else EXAMPLES_PER_SHARD
    result = []
    for split, size in sizes.items():
        count = max(-(-size // each), 1)
        edges = [size * i // count for i in range(count + 1)]
        names = [f"{dataset}-{split}.tfrecord-{i:05}-of-{count:05}" for i in range(count)]
        result += [ShardPlan(name, split, a, b) for name, a, b in zip(names, edges, edges[1:], strict=False)]
    return result


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
    _check_identity(folder, identity)
    for path in folder.glob("*.partial"):
        path.unlink(missing_ok=True)  # a worker of a killed command, which lives on for a moment, may rename it
    total = sum(plan.stop - plan.start for job in jobs for plan in job)
    before = _examples(folder)
    if before:
        print(f"{folder}: resumed, {before:,} of {total:,} examples are written", flush=True)
    _run_workers(folder, jobs, records, workers, stop, total, before)
    return [_finished(folder, plan) for job in jobs for plan in job]


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
                written = f"{_examples(folder):,} of {total:,} examples are written"
                print(f"{written}; rerun the same command to resume.", flush=True)
                raise Stopped
            for process, error in zip(running, errors, strict=True):
                _raise_failure(process, error, folder)
            now = time.monotonic()
            if now - reported > 10:
                reported, done = now, _examples(folder)
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


def write_job(folder: Path, job: list[ShardPlan], records: Records) -> None:
    """Writes the shards of a job that are not finished, in order.

    Raises:
      UserError: a file cannot be written, or `records` yields too few records.
    """
    source: Iterator[bytes] = iter(())
    end = None  # index of the next record of `source`
    for plan in job:
        if _is_finished(folder, plan):
            continue
        if plan.start != end:
            source = records(plan.split, plan.start, job[-1].stop)
        end = plan.stop
        # The process id is part of the name, because a worker of a killed command may live on for a moment.
        partial = folder / f"{plan.name}.{os.getpid()}.partial"
        with _explained(partial):
            with tf.io.TFRecordWriter(os.fspath(partial)) as writer:
                examples = 0
                for record in itertools.islice(source, end - plan.start):
                    writer.write(record)
                    examples += 1
            if examples != end - plan.start:
                raise UserError(
                    f"{plan.name}: only {examples:,} of {end - plan.start:,} examples exist. Were data files changed?"
                )
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            shard = Shard(plan.name, plan.split, examples, partial.stat().st_size, sha256(partial))
            os.replace(partial, folder / plan.name)
            write_atomically(folder / f"{plan.name}.done", json.dumps(asdict(shard)))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, tf.errors.OpError) as e:
        raise UserError(
            f"{path} could not be written: {e}. Finished shards are kept: free some disk space, and rerun the same command "
            "to resume."
        ) from e


@contextlib.contextmanager
def exclusive_access(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder, so that no other process writes into it.

    Raises:
      UserError: another process holds the lock, or the folder cannot be used.
    """
    make_folder(folder, "--config.data.records")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder} is being written by another process. Wait for it.") from None
        yield


def _check_identity(folder: Path, identity: dict[str, Any]) -> None:
    make_folder(folder, "--config.data.records")
    path = folder / "begun.json"
    if path.exists() and _json(path) != identity:
        raise UserError(
            f"{folder} is an unfinished set with other shards, other data files or another version. Delete it to start over."
        )
    write_atomically(path, json.dumps(identity))


def _is_finished(folder: Path, plan: ShardPlan) -> bool:
    """Returns whether a shard is recorded as finished, and its file is intact."""
    try:
        shard = _finished(folder, plan)
        file = folder / plan.name
        return file.stat().st_size == shard.bytes and sha256(file) == shard.sha256
    except (OSError, ValueError, TypeError):
        return False


def _finished(folder: Path, plan: ShardPlan) -> Shard:
    return Shard(**json.loads((folder / f"{plan.name}.done").read_text()))


def _examples(folder: Path) -> int:
    """Returns the number of examples in finished shards, as far as it is known."""
    records = map(_json, folder.glob("*.done"))
    return sum(record["examples"] for record in records if isinstance(record, dict) and "examples" in record)


def _json(path: Path) -> Any:
    """Returns the content of a file, None if it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def remove_progress_files(folder: Path) -> None:
    """Removes the files that only an unfinished set needs."""
    for path in (*folder.glob("*.done"), *folder.glob("*.partial"), folder / "begun.json"):
        path.unlink(missing_ok=True)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Prints how much disk space a set needs, and refuses it if less is free.

    Args:
      folder: folder of the set; shards that exist there already are subtracted.
      needed: size of the complete set in bytes.

    Raises:
      UserError: less is free.
    """
    written = sum(path.stat().st_size for path in shard_files(folder)) if folder.exists() else 0
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    missing = max(needed - written, 0)
    print(f"{folder}: about {_size(needed)} in total, {_size(free)} free", flush=True)
    if missing * 1.02 + 50e6 > free:
        raise UserError(
            f"{folder} needs another {_size(missing)}, but only {_size(free)} are free. Free some disk space, set another "
            "folder with --config.data.records=DIR, or use a smaller form: --config.data.records_form=png."
        )


def _size(number: float) -> str:
    """Formats a number of bytes.

    >>> _size(2_300_000), _size(43_250_000_000)
    ('2 MB', '43.2 GB')
    """
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"


def encode_image(image: np.ndarray, form: str) -> bytes:
    """Encodes an image u8 [H, W, C] in one of record_location.FORMS.

    "png" is lossless, "raw" is the bytes, and "float64" is little-endian floats, pixel / 255.
    """
    if form == "raw":
        return image.tobytes()
    if form == "float64":
        return (image / np.float64(255)).astype("<f8").tobytes()
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def serialize(image: bytes, digits: np.ndarray, boxes: np.ndarray, length: int, index: int) -> bytes:
    """Serializes a record as a tf.train.Example, with a deterministic order of features and therefore of bytes.

    Args:
      image: the encoded pixels.
      digits: i32 [L].
      boxes: f32 [L, 4], cxcywh in pixels.
      length: number of digits.
      index: index of the example in its split.
    """
    ints = {"digits": digits.tolist(), "length": [length], "index": [index]}
    feature = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in ints.items()}
    feature["boxes"] = tf.train.Feature(float_list=tf.train.FloatList(value=boxes.ravel().tolist()))
    feature["image"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)
