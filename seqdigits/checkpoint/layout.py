"""Where the checkpoints of a run lie, which there are, and how one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from seqdigits.checkpoint.manifest import DamagedCheckpoint, read_meta, verify
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


def checkpoints_folder(workdir: Path) -> Path:
    """Where a run's checkpoints lie."""
    return workdir / "checkpoints"


def all_steps(folder: Path) -> list[int]:
    """Steps that have a folder, finished or not, oldest first."""
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdecimal() and p.is_dir())


def load_raw(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint as plain nested dicts of numpy arrays, and its meta; verified. For evaluation, which needs neither
    optimizer nor the same devices.

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


def evaluated_variables(state: dict[str, Any]) -> Variables:
    """The collections to evaluate with, out of a raw state: the moving average where there is one."""
    raw = {name: state.get(name) or {} for name in ("params", "batch_stats", "input_stats")}
    return {**raw, **{name: value or {} for name, value in (state.get("average") or {}).items()}}


def find_checkpoint(workdir: Path, which: str) -> Path:
    """The folder of "latest", "best", a step, or a path.

    Raises:
      UserError: there is none; lists those there are.
    """
    here = checkpoints_folder(workdir)
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
            "or the name of weights that come with the package, which python -m seqdigits pretrained lists."
        )
    return Path(which)


def _known(folder: Path) -> str:
    steps = ", ".join(map(str, all_steps(folder)))
    return f"{folder} has the steps {steps}." if steps else f"{folder} has no checkpoints."
