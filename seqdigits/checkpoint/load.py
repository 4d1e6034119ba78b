"""Loads the variables of another run from a workdir, a checkpoint, a file of weights, or a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seqdigits.checkpoint import pretrained, weights
from seqdigits.checkpoint.layout import all_steps, checkpoints_folder, evaluated_variables, find_checkpoint, load_raw
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


def load_variables(path: Path) -> tuple[Variables, dict[str, Any]]:
    """The variables that are evaluated of another run, and what was saved beside them.

    Args:
      path: a workdir, whose best checkpoint counts (the latest where none was evaluated); a checkpoint
        W/checkpoints/STEP; a file of weights; or the name of weights that come with the package (pretrained.NAMES), where
        nothing of that name lies in the working directory.

    Raises:
      UserError: there is none, or it is damaged.
    """
    path = pretrained.find(str(path)) or path
    if path.suffix == ".npz":
        return weights.load(path)
    if not path.is_dir():
        found = f"{path} is a file" if path.exists() else f"there is nothing at {path}"
        raise UserError(
            f"{found}: no workdir, no checkpoint, no file of weights (.npz). Train that run first, or begin with weights that "
            f"come with the package, --config.init.path={' or '.join(pretrained.NAMES)}."
        )
    if checkpoints_folder(path).is_dir():
        if not all_steps(checkpoints_folder(path)):
            raise UserError(f"the run in {path} has no checkpoint yet: there is nothing to begin with. Train it first.")
        latest = find_checkpoint(path, "latest")
        path = find_checkpoint(path, "best") if read_meta(latest)["best"] else latest
    state, meta = load_raw(path)
    return evaluated_variables(state), meta


def origin(meta: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run for those that begin with it: its step, its config, and what it had itself begun with."""
    return {"step": meta["step"], "config": meta["config"], "initialized_from": meta.get("initialized_from")}
