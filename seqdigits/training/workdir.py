"""The folder of a run: locked by one process, and resumed only with the config that it was started with."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqdigits.checkpoint.layout import all_steps, checkpoints_folder
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.config.defaults import diff_configs, to_json
from seqdigits.config.upgrade import upgrade
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically


@contextlib.contextmanager
def claim(config: ConfigDict, workdir: Path) -> Iterator[None]:
    """Locks the workdir for this process and checks that the run in it may be resumed with this config.

    A config may differ from that of the saved run only in RESUMABLE_KEYS. The config is written to `W/config.json`.

    Raises:
      UserError: the workdir is not writable, is in use by another run, or holds a run whose config differs.
    """
    make_folder(workdir)
    with (workdir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"--workdir {workdir} is in use by another run. Wait until it ends, or name another workdir."
            ) from None
        path = workdir / "config.json"
        steps = all_steps(checkpoints_folder(workdir))
        if steps:
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
        write_atomically(path, to_json(config))
        yield


def _saved_config(checkpoint: Path) -> dict[str, Any]:
    """Returns the config that a checkpoint was saved with; {} if its manifest is missing or damaged.

    A checkpoint without a valid manifest is not restored from either, so its config does not matter.
    """
    try:
        return read_meta(checkpoint)["config"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
