"""Beginning a run with what another one learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from seqdigits import checkpoint, params, pretrained, weights
from seqdigits.batch import Variables
from seqdigits.errors import UserError


def load(path: Path) -> tuple[Variables, dict[str, Any]]:
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
    if checkpoint.folder(path).is_dir():
        if not checkpoint.all_steps(checkpoint.folder(path)):
            raise UserError(f"the run in {path} has no checkpoint yet: there is nothing to begin with. Train it first.")
        latest = checkpoint.find(path, "latest")
        path = checkpoint.find(path, "best") if checkpoint.read_meta(latest)["best"] else latest
    state, meta = checkpoint.load_raw(path)
    return checkpoint.variables(state), meta


def origin(meta: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run for those that begin with it: its step, its config, and what it had itself begun with."""
    return {"step": meta["step"], "config": meta["config"], "begun_with": meta.get("begun_with")}


def begin(variables: Variables, found: Variables, config: ConfigDict) -> Variables:
    """Variables of a new model with those that another run has and the config asks for; both lists are printed.

    Parameters, and the running statistics of norms, are taken by `init.params`. With the encoder go the statistics of the
    pixels that it was trained on, where this model has such.

    Args:
      variables: params, batch_stats and input_stats as they begin.
      found: those of the other run, from `load`.
      config: the section `init`.

    Returns:
      The same collections; of `input_stats` only what is taken, the rest is to be measured.

    Raises:
      UserError: nothing to be taken, or a shape differs.
    """
    begun, taken, fresh = {}, [], []
    for collection in ("params", "batch_stats"):
        theirs = dict(zip(params.names(found[collection]), jax.tree.leaves(found[collection]), strict=True))
        mine = variables[collection]
        leaves = []
        wanted = jax.tree.leaves(params.matching(mine, config.params))
        for name, leaf, is_wanted in zip(params.names(mine), jax.tree.leaves(mine), wanted, strict=True):
            if not is_wanted or name not in theirs:
                fresh.append(name)
                leaves.append(leaf)
                continue
            if theirs[name].shape != leaf.shape:
                raise UserError(
                    f"init.params = {config.params!r} takes {name}, which is {theirs[name].shape} in {config.path} and "
                    f"{leaf.shape} here. Narrow the pattern, or make the models agree."
                )
            taken.append(name)
            leaves.append(theirs[name])
        begun[collection] = jax.tree.unflatten(jax.tree.structure(mine), leaves)
    if not taken:
        raise UserError(
            f"init.params = {config.params!r} takes nothing from {config.path}, which has: "
            f"{', '.join(params.names(found['params']))}."
        )
    print(f"taken from {config.path}: {params.listed(taken, fresh)}", flush=True)
    print(f"begins anew: {params.listed(fresh, taken) or 'nothing'}", flush=True)
    mine, theirs = (of["input_stats"].get("pixels", {}) for of in (variables, found))
    with_encoder = mine and any(name.startswith("encoder/") for name in taken)
    if with_encoder and params.shapes(mine) != params.shapes(theirs):
        raise UserError(
            f"init.params = {config.params!r} takes an encoder from {config.path} that was trained with other pixels: there "
            f"{params.shapes(theirs)}, here {params.shapes(mine)}. Use the same model.pixels and size of images."
        )
    return {**begun, "input_stats": {"pixels": theirs} if with_encoder else {}}
