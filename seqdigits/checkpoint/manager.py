"""Checkpoints: orbax writes them in the background, a SHA-256 manifest seals each, restoring verifies.

Why a manifest: orbax restores an array file with a flipped bit without a word. Layout: `W/checkpoints/STEP/` as orbax
writes it, and in it `manifest.json`, written after the commit, with the digest of every file and what the run knows beside
its state (`meta`). A step without a manifest, or with a file that differs, is not restored from; the next older one that
verifies is, and it is said aloud. What is kept: the newest `train.keep_checkpoints`, and the best.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from seqdigits.checkpoint.layout import all_steps, checkpoints_folder
from seqdigits.checkpoint.manifest import DamagedCheckpoint, UnfinishedCheckpoint, read_meta, seal, verify
from seqdigits.core.errors import UserError


class Checkpoints:
    """The checkpoints of one run, to write and to restore from."""

    def __init__(self, workdir: Path, keep: int = 1):
        """`keep`: the newest so many stay, and the best."""
        self._folder = checkpoints_folder(workdir)
        self._keep = keep
        self._unsealed: tuple[int, dict[str, Any]] | None = None
        self._set_aside_damaged()
        self._manager = ocp.CheckpointManager(
            self._folder.absolute(),
            options=ocp.CheckpointManagerOptions(create=True, cleanup_tmp_directories=True),
        )

    def save(self, step: int, state: Any, meta: dict[str, Any]) -> None:
        """Starts to write a state in the background; the state may be given up (donated) at once.

        `meta` is any JSON; its `best` is {"step": ..., ...} or None, and that step is kept.
        """
        self.wait()
        self._manager.save(step, args=ocp.args.StandardSave(state))
        self._unsealed = (step, meta)

    def poll(self) -> None:
        """Seals a checkpoint whose writing has ended; to be called now and then."""
        if self._unsealed and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits until the last save is on disk and sealed."""
        self._manager.wait_until_finished()
        if self._unsealed and jax.process_index() == 0:
            step, meta = self._unsealed
            seal(self._folder / str(step), meta)
            newest = all_steps(self._folder)[-self._keep :]
            bests = [read_meta(self._folder / str(step))["best"] for step in newest]
            kept = {*newest, *(best["step"] for best in bests if best)}
            for old in set(all_steps(self._folder)) - kept:
                shutil.rmtree(self._folder / str(old))
        self._unsealed = None

    def amend(self, step: int, meta: dict[str, Any]) -> None:
        """Writes another meta for a step that is saved."""
        self.wait()
        if jax.process_index() == 0:
            seal(self._folder / str(step), meta)

    def restore(self, template: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest state and its meta, or None where there is none.

        `template`: a tree of jax.ShapeDtypeStruct with shardings.
        """
        steps = all_steps(self._folder)
        if not steps:
            return None
        state = self._manager.restore(steps[-1], args=ocp.args.StandardRestore(template))
        return state, read_meta(self._folder / str(steps[-1]))

    def close(self) -> None:
        """Waits for the last save and ends orbax's threads."""
        self.wait()
        self._manager.close()

    def _set_aside_damaged(self) -> None:
        """Moves away what is newer than the newest step that verifies: else orbax would take it for the latest."""
        aside = self._folder.with_name("checkpoints-damaged")
        bad: dict[int, DamagedCheckpoint] = {}
        for step in reversed(all_steps(self._folder)):
            try:
                verify(self._folder / str(step))
                break
            except DamagedCheckpoint as e:
                bad[step] = e
        else:
            damaged = [e for e in bad.values() if not isinstance(e, UnfinishedCheckpoint)]
            if damaged:
                raise UserError(
                    f"{damaged[0]}\nNo checkpoint in {self._folder} verifies, so there is nothing to go on from. "
                    "To start over, delete the folder or name another --workdir."
                )
        for step, why in bad.items():
            print(f"{why}\n-> it is moved to {aside}, and the run goes on from the one before", flush=True)
            aside.mkdir(exist_ok=True)
            shutil.rmtree(aside / str(step), ignore_errors=True)
            (self._folder / str(step)).rename(aside / str(step))
