"""Checkpoints: orbax writes them in the background, a SHA-256 manifest seals each, restoring verifies.

Why a manifest: orbax restores an array file with a flipped bit without a word. Layout: `W/checkpoints/STEP/` as orbax
writes it, and in it `manifest.json`, written after the commit, with the digest of every file and what the run knows beside
its state (`meta`). A step without a manifest, or with a file that differs, is not restored from; the next older one that
verifies is, and it is said aloud. What is kept: the newest `train.keep_checkpoints`, and the best.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from seqdigits.batch import Variables
from seqdigits.errors import UserError
from seqdigits.writers import write_atomically

_MANIFEST = "manifest.json"


class DamagedCheckpoint(UserError):
    """A checkpoint that does not verify; says which file and why."""


class UnfinishedCheckpoint(DamagedCheckpoint):
    """A checkpoint without a manifest: the run ended while it was being written."""


class Checkpoints:
    """The checkpoints of one run, to write and to restore from."""

    def __init__(self, workdir: Path, keep: int = 1):
        """`keep`: the newest so many stay, and the best."""
        self._folder = folder(workdir)
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


def folder(workdir: Path) -> Path:
    """Where a run's checkpoints lie."""
    return workdir / "checkpoints"


def all_steps(folder: Path) -> list[int]:
    """Steps that have a folder, finished or not, oldest first."""
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdecimal() and p.is_dir())


def seal(path: Path, meta: dict[str, Any]) -> None:
    """Writes the manifest of one finished checkpoint: `meta`, size and SHA-256 of every file, and a SHA-256 over both."""
    content = {"meta": meta, "files": {name: _digest(path / name) for name in _files(path)}}
    write_atomically(path / _MANIFEST, json.dumps({**content, "sha256": _digest_of(content)}, indent=1))


def verify(path: Path) -> None:
    """Compares a checkpoint with its manifest.

    Raises:
      DamagedCheckpoint: naming the file.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        content = {name: manifest[name] for name in ("meta", "files")}
        whole = manifest["sha256"] == _digest_of(content)
    except FileNotFoundError:
        raise UnfinishedCheckpoint(
            f"checkpoint {path} has no {_MANIFEST}: it was stopped while being written"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {_MANIFEST} cannot be read ({e})") from e
    if not whole:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {_MANIFEST} is not what was written (SHA-256 differs)")
    for name, expected in manifest["files"].items():
        try:
            found = _digest(path / name)
        except OSError as e:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} cannot be read ({e.strerror})") from e
        if found != expected:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged: {name} is not what was written (SHA-256 differs)")


def load_raw(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint as plain nested dicts of numpy arrays, and its meta; verified. For evaluation, which needs neither
    optimiser nor the same devices.

    Raises:
      DamagedCheckpoint: see verify.
      UserError: there is no such checkpoint.
    """
    if not path.is_dir():
        raise UserError(f"there is no checkpoint {path}. {_known(path.parent)}")
    verify(path)
    with ocp.PyTreeCheckpointer() as checkpointer:
        saved = checkpointer.metadata(path.absolute() / "default").item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), saved)
        state = checkpointer.restore(path.absolute() / "default", restore_args=as_numpy)
    return state, read_meta(path)


def variables(state: dict[str, Any]) -> Variables:
    """The collections to evaluate with, out of a raw state: the moving average where there is one."""
    raw = {name: state.get(name) or {} for name in ("params", "batch_stats", "input_stats")}
    return {**raw, **{name: value or {} for name, value in (state.get("average") or {}).items()}}


def read_meta(path: Path) -> dict[str, Any]:
    """What was saved beside the state."""
    return json.loads((path / _MANIFEST).read_text())["meta"]


def find(workdir: Path, which: str) -> Path:
    """The folder of "latest", "best", a step, or a path.

    Raises:
      UserError: there is none; lists those there are.
    """
    here = folder(workdir)
    steps = all_steps(here)
    if which in ("latest", "best"):
        for step in reversed(steps):
            try:
                verify(here / str(step))
            except DamagedCheckpoint as e:
                print(f"{e}\n-> falling back to an older checkpoint", flush=True)
                continue
            if which == "latest":
                return here / str(step)
            best = read_meta(here / str(step))["best"]
            if best is None:
                raise UserError(f"{here} has no best checkpoint yet: no evaluation was done. Use --checkpoint latest.")
            return here / str(best["step"])
        raise UserError(
            f"there is no checkpoint to evaluate in {here}. Train first: python -m seqdigits.main --config ... --workdir "
            f"{workdir}."
        )
    if which.isdecimal():
        if int(which) not in steps:
            raise UserError(f"--checkpoint {which}: {_known(here)}")
        return here / which
    if not Path(which).name.isdecimal():
        raise UserError(
            f"--checkpoint {which}: allowed are latest, best, a step, the path W/checkpoints/STEP, a file of weights (.npz), "
            "or the name of weights that come with the package, which python -m seqdigits.pretrained lists."
        )
    return Path(which)


def _known(folder: Path) -> str:
    steps = ", ".join(map(str, all_steps(folder)))
    return f"{folder} has the steps {steps}." if steps else f"{folder} has no checkpoints."


def _digest_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> list[str]:
    found = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    return sorted(name for name in found if not name.startswith(_MANIFEST))


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
