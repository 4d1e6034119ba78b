"""The layout of checkpoints on disk: finds the checkpoints of a run and loads them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from seqdigits.checkpoint.manifest import DamagedCheckpoint, read_meta, verify
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


def checkpoints_folder(workdir: Path) -> Path:
    """Returns the folder of the checkpoints of a run."""
    return workdir / "checkpoints"


def all_steps(folder: Path) -> list[int]:
    """Returns the steps that have a folder, complete or not, in ascending order."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in names if _is_step(name) and (folder / name).is_dir())


def _is_step(name: str) -> bool:
    """Returns whether a name is that of a step as the program writes it: "020" is another folder than "20"."""
    return name.isascii() and name.isdecimal() and name == str(int(name))


def load_raw(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verifies and loads a checkpoint independently of the optimizer and the devices of its run.

    Args:
      path: W/checkpoints/STEP.

    Returns:
      The state, as nested dicts of numpy arrays, and its meta.

    Raises:
      DamagedCheckpoint: the checkpoint does not match its manifest.
      UserError: there is no such checkpoint.
    """
    if not path.is_dir():
        raise UserError(f"there is no checkpoint {path}. {_available(path.parent)}")
    try:
        verify(path)
    except DamagedCheckpoint as e:
        raise DamagedCheckpoint(f"{e}. Name another step, or latest. {_available(path.parent)}") from e
    with ocp.PyTreeCheckpointer() as checkpointer:
        saved = checkpointer.metadata(path.absolute() / "default").item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), saved)
        state = checkpointer.restore(path.absolute() / "default", restore_args=as_numpy)
    return state, read_meta(path)


def evaluated_variables(state: dict[str, Any]) -> Variables:
    """Returns the collections to evaluate, from a raw state: the moving average if the run has one."""
    raw = {name: state.get(name) or {} for name in ("params", "batch_stats", "input_stats")}
    return {**raw, **{name: value or {} for name, value in (state.get("average") or {}).items()}}


def find_checkpoint(workdir: Path, which: str) -> Path:
    """Returns the folder of a checkpoint.

    Args:
      workdir: folder of the run.
      which: "latest" (the newest that verifies), "best", a step, or a path W/checkpoints/STEP.

    Raises:
      UserError: there is no such checkpoint; the message lists the available steps.
    """
    folder = checkpoints_folder(workdir)
    steps = all_steps(folder)
    if which in ("latest", "best"):
        damaged: list[DamagedCheckpoint] = []
        for step in reversed(steps):
            try:
                verify(folder / str(step))
            except DamagedCheckpoint as e:
                print(f"{e}\n-> falling back to an older checkpoint", flush=True)
                damaged.append(e)
                continue
            if which == "latest":
                return folder / str(step)
            best = read_meta(folder / str(step))["best"]
            if best is None:
                raise UserError(
                    f"--checkpoint best: {folder} has no best checkpoint yet, because no evaluation was done. Use --checkpoint "
                    "latest."
                )
            return folder / str(best["step"])
        if damaged:
            raise UserError(
                f"{damaged[0]}\nNo checkpoint in {folder} verifies. Copy them again from where they were written, or train again."
            )
        raise UserError(
            f"there is no checkpoint to evaluate in {folder}. Train first: python -m seqdigits.main --config ... --workdir "
            f"{workdir}."
        )
    if which.isdecimal():
        if int(which) not in steps:
            raise UserError(f"--checkpoint {which}: {_available(folder)}")
        return folder / which
    if not Path(which).name.isdecimal():
        raise UserError(
            f"--checkpoint {which}: allowed are latest, best, a step, the path W/checkpoints/STEP, a file of weights (.npz), "
            "or the name of pretrained weights, which seqdigits pretrained lists."
        )
    return Path(which)


def _available(folder: Path) -> str:
    steps = ", ".join(map(str, all_steps(folder)))
    return f"{folder} has the steps {steps}." if steps else f"{folder} has no checkpoints."
