"""The folder of a run: locked by one run, and resumed only with the config that it was started with."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from seqdigits.checkpoint.layout import all_steps, checkpoints_folder
from seqdigits.checkpoint.manifest import DamagedCheckpoint, read_meta
from seqdigits.config.saved import diff_configs, to_json
from seqdigits.config.upgrade import upgrade
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.parallel.processes import from_main, is_main
from seqdigits.training import data_files
from seqdigits.training.lock import Lock

_SHARED_SECONDS = 30
"""File servers may show a new file late."""


@contextlib.contextmanager
def claim(config: ConfigDict, workdir: Path) -> Iterator[Lock | None]:
    """Locks the workdir for this run and checks that the run in it may be resumed with this config.

    A config may differ from that of the saved run only in RESUMABLE_KEYS, and data files not at all. The config is written to `W/config.json`.
    Process 0 does all this; the others check that they see the same folder.

    Yields:
      The lock, in process 0; None in the others.

    Raises:
      UserError: the workdir is not writable, is in use by another run, holds a run whose config or data files differ,
        or is not shared by all processes.
    """
    with contextlib.ExitStack() as stack:
        lock = None
        token = np.zeros(16, np.uint8)
        if is_main():
            make_folder(workdir)
            lock = Lock(workdir)
            stack.callback(lock.release)
            for partial in workdir.glob("*.partial"):  # of a run that was killed while it wrote
                if not partial.name.startswith("lock."):  # those the lock itself writes, at any time
                    partial.unlink(missing_ok=True)
            _check_config(config, workdir)
            data_files.check(config, workdir, resumes=bool(all_steps(checkpoints_folder(workdir))))
            write_atomically(workdir / "config.json", to_json(config))
            token = np.frombuffer(lock.token.encode(), np.uint8)
        _check_shared(workdir, from_main(token).tobytes().decode())
        yield lock


def _check_config(config: ConfigDict, workdir: Path) -> None:
    """Raises a UserError if the workdir holds a run with another config."""
    path = workdir / "config.json"
    steps = all_steps(checkpoints_folder(workdir))
    if not steps:
        return
    try:
        saved = (
            upgrade(json.loads(path.read_text()))
            if path.exists()
            else _saved_config(checkpoints_folder(workdir) / str(steps[-1]))
        )
        different = diff_configs(config, saved)
    except (ValueError, AttributeError, TypeError) as e:
        raise UserError(
            f"{path} is damaged ({e}). Delete it to resume from the checkpoints in the same workdir."
        ) from e
    if different:
        raise UserError(
            f"{workdir} holds a run with another config. These keys may not change when a run is resumed:\n  "
            + "\n  ".join(different)
            + "\nSet them back to the old values, or start a new run with another --workdir."
        )


def _check_shared(workdir: Path, token: str) -> None:
    """Raises a UserError if this process does not see the lock of process 0."""
    deadline = time.monotonic() + _SHARED_SECONDS
    while True:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if json.loads((workdir / "lock").read_text())["token"] == token:
                return
        if time.monotonic() > deadline:
            raise UserError(
                f"--workdir {workdir} on {socket.gethostname()} is not the folder that process 0 uses. All processes need the "
                "same one: on a file system that the hosts share, or a mounted bucket."
            )
        time.sleep(1)


def _saved_config(checkpoint: Path) -> dict[str, Any]:
    """Returns the config that a checkpoint was saved with; {} if its manifest is missing or damaged.

    A checkpoint without a valid manifest is not restored from either, so its config does not matter.
    """
    try:
        return read_meta(checkpoint)["config"]
    except (DamagedCheckpoint, KeyError):
        return {}
