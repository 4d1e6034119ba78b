"""Copies records from a bucket, gs:// or s3://, to a local folder, from which they are streamed.

Each file is copied once per host and verified by its SHA-256 while it is copied. A file has its final name only when it is
complete and intact, so that a copy may be killed at any moment. fsspec reads the bucket, with gcsfs or s3fs. etils.epath
would not do: where TensorFlow is installed it uses its file systems, which do not include s3://.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from seqdigits.core import interrupt
from seqdigits.core.errors import UserError, short
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stopped
from seqdigits.core.progress import duration, progress
from seqdigits.data.manifest import (
    MANIFEST,
    PREPARE_COMMAND,
    Shard,
    faults,
    mark_verified,
    parse_manifest,
    shard_files,
    shards_of,
)

_FILES_AT_ONCE = 8
_CHUNK = 4_000_000
"""Bytes per request."""
_TRIES = 3
_SECONDS_BEFORE_RETRY = 1.0
"""It is doubled for the third try."""
_FREE_BYTES = 50_000_000
"""Disk space that remains free."""
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}
_CREDENTIALS = {
    "gs": "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS=KEY.json",
    "s3": "aws configure, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
    "FSSPEC_S3='{\"anon\": true}', for another service AWS_ENDPOINT_URL=URL",
}


def fetch(url: str, folder: Path, splits: Collection[str]) -> list[Shard]:
    """Copies the manifest of a set, and the shards of some splits, unless intact copies exist.

    Several processes of a host may call it at the same time; one copies and the others wait.

    Args:
      url: URL of the set.
      folder: local folder of the copy.
      splits: names of the splits.

    Returns:
      The shards of these splits.

    Raises:
      UserError: the bucket cannot be read, has no such set, or has a damaged file; or the folder cannot be used, or is too
        small.
      Stopped: the command was stopped; complete files are kept.
    """
    files = _file_system(url)
    data = _read_manifest(files, url)
    with _exclusive_access(folder):
        wanted = [shard for shard in shards_of(_save_manifest(data, url, folder)) if shard.split in splits]
        missing = [shard for shard, _ in faults(folder, wanted)]
        if missing:
            _copy_all(files, url, folder, missing)
    return wanted


def _file_system(url: str) -> Any:
    scheme = url.partition("://")[0]
    logging.getLogger(_PACKAGES[scheme]).setLevel(logging.CRITICAL)  # it would print a traceback for each retry
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError as e:
        raise UserError(
            f"{url} needs fsspec and {_PACKAGES[scheme]} ({e}). Install them: pip install 'seqdigits[cloud]'. Or copy the "
            "records to a local folder DIR, and set --config.data.records=DIR."
        ) from e
    except Exception as e:  # each service has its own exceptions for missing credentials
        raise UserError(_access_text(url, e)) from e


def _read_manifest(files: Any, url: str) -> bytes:
    try:
        return b"".join(_chunks(files, f"{url}/{MANIFEST}"))
    except _ReadError as e:
        if not isinstance(e.__cause__, FileNotFoundError):
            raise
        raise UserError(
            f"{url} has no records, or the bucket does not exist. Write them to a local folder: {PREPARE_COMMAND}. Then "
            f"copy them: {copy_command('FOLDER', url)}"
        ) from e


def copy_command(folder: Path | str, url: str) -> str:
    """Returns the command that copies a local folder of records to a bucket."""
    return f"gcloud storage rsync -r {folder} {url}" if url.startswith("gs:") else f"aws s3 sync {folder} {url}"


def _save_manifest(data: bytes, url: str, folder: Path) -> dict[str, Any]:
    """Returns the manifest after saving it, and removing files of an older one."""
    try:
        manifest = parse_manifest(data)
    except ValueError as e:
        raise UserError(f"{url}/{MANIFEST} is damaged: {e}. {_replace_hint(url)}") from e
    path = folder / MANIFEST
    try:
        if not path.exists() or path.read_bytes() != data:
            write_atomically(path, data)
        known = {shard.name for shard in shards_of(manifest)}
        for file in shard_files(folder):
            if file.name not in known:
                file.unlink(missing_ok=True)
    except OSError as e:
        raise _write_error(path, e) from e
    return manifest


@contextmanager
def _exclusive_access(folder: Path) -> Iterator[None]:
    """Waits for the lock of a folder, and holds it.

    Some network file systems have no locks. Two processes may then copy the same file, each under a name of its own.
    """
    make_folder(folder, "SEQDIGITS_DATA")
    with (folder / "lock").open("w") as lock:
        locked = waited = False
        while not locked:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                if not waited:
                    print(f"{folder}: waiting for another process that copies", flush=True)
                waited = True
                if interrupt.command.wait(0.2):
                    raise Stopped from None
            except OSError:
                break
        if locked:
            for partial in folder.glob("*.*.partial"):  # of a process that was killed
                partial.unlink(missing_ok=True)
        yield


def _copy_all(files: Any, url: str, folder: Path, shards: list[Shard]) -> None:
    total = sum(shard.bytes for shard in shards)
    free = shutil.disk_usage(folder).free
    if total + _FREE_BYTES > free:
        raise UserError(
            f"{folder} needs {_megabytes(total)} for records from {url}, but only {_megabytes(free)} are free. Free some "
            "disk space, or set another folder: SEQDIGITS_DATA=DIR."
        )
    began = time.monotonic()
    print(f"{url}: copying {len(shards)} files, {_megabytes(total)}, to {folder}", flush=True)
    received = dict.fromkeys((shard.name for shard in shards), 0)
    ended = Event()
    pool = ThreadPoolExecutor(_FILES_AT_ONCE)
    jobs = [pool.submit(_copy, files, url, folder, shard, received, ended) for shard in shards]
    try:
        for _ in progress(_arrivals(jobs, received), total // 1_000_000, "MB copied", url):
            pass
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)
        copied = [job.done() and not job.cancelled() and job.exception() is None for job in jobs]
        mark_verified(folder, [shard for shard, whole in zip(shards, copied, strict=True) if whole])
    print(f"{url}: copied and verified in {duration(time.monotonic() - began)}", flush=True)


def _arrivals(jobs: list[Future[None]], received: dict[str, int]) -> Iterator[None]:
    """Yields once for each megabyte that has arrived, until all jobs are done; raises the error of the first that fails."""
    yielded, pending = 0, set(jobs)
    while pending:
        done, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
        for job in done:
            job.result()
        if interrupt.command.is_set():
            raise Stopped
        arrived = sum(received.values()) // 1_000_000
        for _ in range(yielded, arrived):
            yield
        yielded = max(yielded, arrived)


def _copy(files: Any, url: str, folder: Path, shard: Shard, received: dict[str, int], ended: Event) -> None:
    """Copies one shard; tries several times, because connections break and bytes may be damaged on the way."""
    error: UserError | None = None
    for attempt in range(_TRIES):
        if ended.wait(attempt * _SECONDS_BEFORE_RETRY):
            raise Stopped
        try:
            fault = _try_copy(files, url, folder, shard, received, ended)
        except _ReadError as e:
            error = e
        except OSError as e:
            raise _write_error(folder / shard.name, e) from e
        else:
            if not fault:
                return
            error = UserError(f"{url}/{shard.name} {fault}. {_replace_hint(url)}")
    assert error is not None, "there is at least one try"
    raise error


def _try_copy(files: Any, url: str, folder: Path, shard: Shard, received: dict[str, int], ended: Event) -> str:
    """Copies one shard; returns what is wrong with what arrived, "" if nothing is."""
    partial = _partial(folder / shard.name)
    digest, size = hashlib.sha256(), 0
    try:
        with partial.open("wb") as file:
            for chunk in _chunks(files, f"{url}/{shard.name}"):
                if ended.is_set():
                    raise Stopped
                size += len(chunk)
                if size > shard.bytes:
                    return f"has more than the expected {shard.bytes:,} bytes"
                digest.update(chunk)
                file.write(chunk)
                received[shard.name] = size
            file.flush()
            os.fsync(file.fileno())
        if size != shard.bytes:
            return f"has {size:,} bytes, expected {shard.bytes:,}"
        if digest.hexdigest() != shard.sha256:
            return "is damaged: its SHA-256 differs from the manifest"
        os.replace(partial, folder / shard.name)
        return ""
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """Returns a name for an unfinished file that no other process uses, with or without locks."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")


class _ReadError(UserError):
    """A file in the bucket cannot be read; its cause is the exception of the service."""


def _chunks(files: Any, path: str) -> Iterator[bytes]:
    """Yields the content of a file in a bucket."""
    try:
        with files.open(path, "rb", cache_type="none") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except FileNotFoundError as e:
        raise _ReadError(f"{path} is missing. {_replace_hint(path.rpartition('/')[0])}") from e
    except Exception as e:  # each service has its own exceptions for the network and for credentials
        raise _ReadError(_access_text(path, e)) from e


def _access_text(url: str, e: Exception) -> str:
    credentials = _CREDENTIALS[url.partition("://")[0]]
    return (
        f"{url} cannot be read: {type(e).__name__}: {short(e)}\nCheck that the bucket exists, the network, and the "
        f"credentials of this machine: {credentials}."
    )


def _write_error(path: Path, e: OSError) -> UserError:
    return UserError(
        f"{path} cannot be written: {e.strerror}. Free some disk space, or set another folder: SEQDIGITS_DATA=DIR."
    )


def _replace_hint(url: str) -> str:
    return f"Copy the records to the bucket again: {copy_command('FOLDER', url)}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.0f} MB"
