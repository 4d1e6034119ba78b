"""Shards of records, written by several processes: the same bytes for any number of them. What is half written is never
taken for whole, and what is whole is not written again."""

from __future__ import annotations

import concurrent.futures as futures
import io
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seqdigits.clock import duration
from seqdigits.data.builders import tf
from seqdigits.data.records import Shard, sha256
from seqdigits.errors import UserError
from seqdigits.interrupt import Stop, Stopped
from seqdigits.writers import make_folder, write_atomically

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
    total = sum(piece.stop - piece.start for job in jobs for piece in job)
    before = _examples(folder)
    if before:
        print(f"{folder}: going on, {before:,} of {total:,} examples are written", flush=True)
    _start(folder, jobs, records, workers, stop, total, before)
    return [_done(folder, piece) for job in jobs for piece in job]


def _start(
    folder: Path, jobs: list[list[Piece]], records: Records, workers: int, stop: Stop, total: int, before: int
) -> None:
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    ending = context.Event()
    began = said = time.monotonic()
    with futures.ProcessPoolExecutor(workers, context, _prepare_worker, (ending,)) as pool:
        try:
            running = {pool.submit(_write_job, folder, job, records) for job in jobs}
            while running:
                ready, running = futures.wait(running, timeout=0.5, return_when=futures.FIRST_COMPLETED)
                for one in ready:
                    one.result()
                if stop.is_set():
                    raise Stopped
                now = time.monotonic()
                if now - said > 10:
                    said, done = now, _examples(folder)
                    rate = (done - before) / (now - began)
                    left = f", {duration((total - done) / rate)} left" if rate else ""
                    print(f"{folder}: {done:,} of {total:,} examples, {rate:,.0f}/s{left}", flush=True)
        except BaseException as e:
            ending.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(e, Stopped):
                print(f"{_examples(folder):,} of {total:,} examples are written; the same command goes on.", flush=True)
            if isinstance(e, futures.process.BrokenProcessPool):
                raise UserError(
                    f"{folder}: a process that writes records was ended from outside, for want of memory perhaps. The "
                    "same command goes on; with fewer processes: --workers=1."
                ) from e
            raise


_ending: Any = None


def _prepare_worker(ending: Any) -> None:
    """The process stops with the one that started it; it computes on one core, and on no accelerator."""
    global _ending
    _ending = ending
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_job(folder: Path, job: list[Piece], records: Records) -> None:
    """Writes the shards of a job that are not there yet, in order."""
    missing = [piece for piece in job if not _is_done(folder, piece)]
    if not missing:
        return
    source = records(missing[0].split, missing[0].start, missing[-1].stop)
    for piece in missing:
        partial = folder / f"{piece.name}.partial"
        with tf.io.TFRecordWriter(os.fspath(partial)) as writer:
            for _, record in zip(range(piece.start, piece.stop), source, strict=False):
                writer.write(record)
                if _ending.is_set():
                    sys.exit()
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        shard = Shard(piece.name, piece.split, piece.stop - piece.start, partial.stat().st_size, sha256(partial))
        os.replace(partial, folder / piece.name)
        write_atomically(folder / f"{piece.name}.done", json.dumps(asdict(shard)))


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


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Says how much disk a set will take.

    Args:
      folder: where it is to lie; what an earlier call wrote there counts.
      needed: bytes.

    Raises:
      UserError: there is less.
    """
    there = sum(path.stat().st_size for path in folder.glob("*.tfrecord-*")) if folder.exists() else 0
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    missing = max(needed - there, 0)
    print(f"{folder}: about {needed / 1e9:,.2f} GB in all, {free / 1e9:,.1f} GB are free", flush=True)
    if missing * 1.02 + 50e6 > free:
        raise UserError(
            f"{folder} needs {missing / 1e9:,.2f} GB more, and {free / 1e9:,.2f} GB are free. Make room, name another folder "
            "with --config.data.records=DIR, or take a smaller form: --config.data.records_form=png."
        )


# Examples


def encode_image(image: np.ndarray, form: str) -> bytes:
    """u8 [H, W, C] as one of records.FORMS: PNG; its bytes; or 64-bit little-endian floats, pixel / 255."""
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
