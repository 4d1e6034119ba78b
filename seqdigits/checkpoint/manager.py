"""Checkpoints: orbax writes them in the background, a SHA-256 manifest seals each, and restoring verifies it.

The manifest exists because orbax restores an array file with a flipped bit without an error. Layout:
`W/checkpoints/STEP/` as orbax writes it, and in it `manifest.json`, written after orbax's commit, with the digest
of every file and the metadata of the run (`meta`). A step without a manifest, or with a file that differs, is never
restored; a message names it, and the next older step that verifies is restored. The newest `train.keep_checkpoints`
are kept, and the step that each of them names as the best: a run that falls back to an older one still has its best.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from seqdigits.checkpoint.layout import all_steps, checkpoints_folder
from seqdigits.checkpoint.manifest import (
    DamagedCheckpoint,
    UnfinishedCheckpoint,
    is_sealed,
    read_meta,
    reseal,
    seal,
    verify,
)
from seqdigits.core.errors import TryAgain, UserError
from seqdigits.parallel.processes import from_main, is_main


class Checkpoints:
    """Saves and restores the checkpoints of one run; every process of the run calls each method."""

    def __init__(self, workdir: Path, keep: int = 1):
        """Opens the checkpoints, after those newer than the newest that verifies are moved away.

        Args:
          workdir: folder of the run.
          keep: number of newest checkpoints that are kept, in addition to the best.

        Raises:
          UserError: there are complete checkpoints, and all of them are damaged.
        """
        self._folder = checkpoints_folder(workdir)
        self._keep = keep
        self._unsealed: tuple[int, dict[str, Any]] | None = None
        if is_main():
            self._set_aside_damaged()
        steps = all_steps(self._folder) if is_main() else []
        self._latest = int(from_main(np.array(steps[-1] if steps else -1)))
        self._manager = ocp.CheckpointManager(
            self._folder.absolute(),
            options=ocp.CheckpointManagerOptions(create=True, cleanup_tmp_directories=True),
        )

    def save(self, step: int, state: Any, meta: dict[str, Any]) -> None:
        """Starts to write a state in the background; its buffers may be donated as soon as this returns.

        Args:
          step: number of steps done.
          state: tree of arrays.
          meta: any JSON. Its `best` is {"step": ..., ...} or None, and that step is kept while one of the newest names it.
        """
        self.wait()
        self._manager.save(step, args=ocp.args.StandardSave(state))
        self._unsealed = (step, meta)

    def poll(self) -> None:
        """Seals the last checkpoint if it is written; to be called regularly."""
        if self._unsealed and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits until the last save is on disk and sealed.

        Raises:
          TryAgain: orbax gave up the save.
        """
        unsealed, self._unsealed = self._unsealed, None
        try:
            self._manager.wait_until_finished()
        except TimeoutError as e:  # orbax measures by the time of day
            step = unsealed[0] if unsealed else "?"
            raise TryAgain(
                f"the checkpoint of step {step} was not written within orbax's limits of some minutes: the disk is too slow, or "
                "the clock of this machine jumped. The checkpoint before it is intact"
            ) from e
        if unsealed and is_main():
            step, meta = unsealed
            seal(self._folder / str(step), meta)
            # Old steps are deleted here, not by orbax, so that none is deleted before the new one is sealed.
            newest = all_steps(self._folder)[-self._keep :]
            kept = {*newest, *filter(None, map(self._best_step, newest))}
            for old in set(all_steps(self._folder)) - kept:
                shutil.rmtree(self._folder / str(old))

    def _best_step(self, step: int) -> int | None:
        """Returns the step that a saved step names as the best; None if there is none, or the step is damaged."""
        try:
            best = read_meta(self._folder / str(step))["best"]
        except DamagedCheckpoint:  # it is older than the one that was restored, which verified
            return None
        return best and best["step"]

    def amend(self, step: int, meta: dict[str, Any]) -> None:
        """Replaces the meta of a saved step."""
        self.wait()
        if is_main():
            reseal(self._folder / str(step), meta)

    def restore(self, template: Any) -> tuple[Any, dict[str, Any]] | None:
        """Restores the state and its meta that were the newest at the start; returns None if there was no checkpoint.

        Args:
          template: tree of jax.ShapeDtypeStruct with shardings.
        """
        if self._latest < 0:
            return None
        state = self._manager.restore(self._latest, args=ocp.args.StandardRestore(template))
        return state, read_meta(self._folder / str(self._latest))

    def close(self) -> None:
        """Waits for the last save and ends the threads of orbax."""
        self.wait()
        self._manager.close()

    def _set_aside_damaged(self) -> None:
        """Moves away the steps after the newest that verifies; orbax would take them for the latest."""
        damaged_folder = self._folder.with_name("checkpoints-damaged")
        errors: dict[int, DamagedCheckpoint] = {}
        for step in reversed(all_steps(self._folder)):
            try:
                verify(self._folder / str(step))
                break
            except DamagedCheckpoint as e:
                errors[step] = e
        else:
            damaged = [e for e in errors.values() if not isinstance(e, UnfinishedCheckpoint)]
            if damaged:
                raise UserError(
                    f"{damaged[0]}\nNo checkpoint in {self._folder} verifies, so the run cannot be resumed. "
                    "To start over, delete the folder or name another --workdir."
                )
        if errors:
            for earlier in damaged_folder.glob("*"):  # each stop may leave an unfinished one, which would fill the disk
                if earlier.is_dir() and not is_sealed(earlier):
                    shutil.rmtree(earlier)
        for step, error in errors.items():
            print(f"{error}\n-> moved to {damaged_folder}; resuming from the checkpoint before it", flush=True)
            damaged_folder.mkdir(exist_ok=True)
            shutil.rmtree(damaged_folder / str(step), ignore_errors=True)
            (self._folder / str(step)).rename(damaged_folder / str(step))
