"""The shards of a set of records on disk: how they are cut, written, and found again after a kill.

An unfinished shard is never mistaken for a finished one, and a finished shard is not written again.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, sha256, write_atomically
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
      shards: number of shards of the largest split, at most one for each example; the others have as many in proportion. 0 =
        EXAMPLES_PER_SHARD per shard.

    >>> [p.name for p in plan_shards("d", {"train": 5, "test": 1}, 2)]
    ['d-train.tfrecord-00000-of-00002', 'd-train.tfrecord-00001-of-00002', 'd-test.tfrecord-00000-of-00001']
    """
    largest = max(sizes.values())
    result = []
    for split, size in sizes.items():
        count = min(-(-size * shards // largest), size) if shards else -(-size // EXAMPLES_PER_SHARD)
        count = max(count, 1)
        edges = [size * i // count for i in range(count + 1)]
        names = [f"{dataset}-{split}.tfrecord-{i:05}-of-{count:05}" for i in range(count)]
        result += [ShardPlan(name, split, a, b) for name, a, b in zip(names, edges, edges[1:], strict=False)]
    return result


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
            source = _readable(records(plan.split, plan.start, job[-1].stop), plan.split)
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


def _readable(source: Iterator[bytes], split: str) -> Iterator[bytes]:
    """Yields the records of a split, whose errors are not those of the file that they are written to."""
    try:
        yield from source
    except OSError as e:
        raise UserError(
            f"an example of the split {split} cannot be read: {e}. Finished shards are kept: rerun the same command to resume."
        ) from e


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
        except OSError as e:
            raise UserError(
                f"{folder} cannot be locked: {e.strerror}. Its file system has no locks: name a local folder with "
                "--config.data.records, and copy the records afterwards."
            ) from e
        yield


def check_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Stores the identity of an unfinished set in its folder, which is created if necessary.

    Raises:
      UserError: the folder has an unfinished set of another identity, or cannot be used.
    """
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
        shard = finished_shard(folder, plan)
        file = folder / plan.name
        return file.stat().st_size == shard.bytes and sha256(file) == shard.sha256
    except (OSError, ValueError, TypeError):
        return False


def finished_shard(folder: Path, plan: ShardPlan) -> Shard:
    """Returns what is recorded of a finished shard."""
    return Shard(**json.loads((folder / f"{plan.name}.done").read_text()))


def finished_examples(folder: Path) -> int:
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
