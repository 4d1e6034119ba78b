"""Loads the variables of another run from a workdir, a checkpoint, a file of weights, or by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seqdigits.checkpoint import pretrained, weights
from seqdigits.checkpoint.layout import all_steps, checkpoints_folder, evaluated_variables, find_checkpoint, load_raw
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


def load_variables(path: Path) -> tuple[Variables, dict[str, Any]]:
    """Loads the variables of another run, those that it evaluates, and their metadata.

    Args:
      path: a workdir, of which the best checkpoint is loaded (the latest if none was evaluated); a checkpoint
        W/checkpoints/STEP; a file of weights; or the name of pretrained weights (pretrained.NAMES), unless the
        working directory contains a file or folder of that name.

    Returns:
      The collections by name, and the metadata: at least `step` and `config`.

    Raises:
      UserError: the path does not exist or is none of these, or its content is damaged.
    """
    path = pretrained.find(str(path)) or path
    if path.suffix == ".npz":
        return weights.load(path)
    if not path.is_dir():
        problem = f"{path} is a file without the suffix .npz" if path.exists() else f"{path} does not exist"
        raise UserError(
            f"{problem}. Allowed are a workdir, a checkpoint W/checkpoints/STEP, a file of weights (.npz), or the name of "
            f"pretrained weights ({', '.join(pretrained.NAMES)}). Or train that run first."
        )
    if checkpoints_folder(path).is_dir():
        path = best_checkpoint(path)
    state, meta = load_raw(path)
    return evaluated_variables(state), meta


def best_checkpoint(workdir: Path) -> Path:
    """Returns the folder of the best checkpoint of a run; that of the latest one if none was evaluated.

    Raises:
      UserError: there is no checkpoint, or the latest one is damaged.
    """
    if not all_steps(checkpoints_folder(workdir)):
        raise UserError(f"the run in {workdir} has no checkpoint yet. Train it first.")
    latest = find_checkpoint(workdir, "latest")
    best = read_meta(latest)["best"]
    return latest.with_name(str(best["step"])) if best else latest


def origin(meta: dict[str, Any]) -> dict[str, Any]:
    """Returns the record of a run for those initialized from it: step, config, `initialized_from`."""
    return {"step": meta["step"], "config": meta["config"], "initialized_from": meta.get("initialized_from")}
