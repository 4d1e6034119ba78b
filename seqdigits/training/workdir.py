"""The folder of a run: claimed by one process, and continued only with the config that it began with."""

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
    """Makes the workdir this run's, and nobody else's meanwhile; checks that what lies there may go on.

    Raises:
      UserError: it cannot be written, is in use, or belongs to a run with another identity.
    """
    make_folder(workdir)
    with (workdir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"--workdir {workdir} is in use by another run. Wait for it, or name another.") from None
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
            except (ValueError, AttributeError) as e:
                raise UserError(f"{path} is damaged ({e}). Delete it to go on from the checkpoints beside it.") from e
            if different:
                raise UserError(
                    f"{workdir} holds a run that differs in what may not change when it goes on:\n  "
                    + "\n  ".join(different)
                    + "\nTake those back, or start a new run with another --workdir."
                )
        write_atomically(path, to_json(config))
        yield


def _saved_config(checkpoint: Path) -> dict[str, Any]:
    """The config that a checkpoint was saved with; of one without its manifest nothing is known, and it is not gone on from."""
    try:
        return read_meta(checkpoint)["config"]
    except (OSError, ValueError, KeyError):
        return {}
