"""Beginning a run with what another one learned."""

from __future__ import annotations

from pathlib import Path

import jax
from ml_collections import ConfigDict

from seqdigits import checkpoint, params, weights
from seqdigits.batch import Variables
from seqdigits.errors import UserError


def load(path: Path) -> tuple[Variables, dict]:
    """The variables that are evaluated of another run, and what was saved beside them.

    Args:
      path: a workdir, whose best checkpoint counts (the latest where none was evaluated); a checkpoint
        W/checkpoints/STEP; or a file of weights.

    Raises:
      UserError: there is none, or it is damaged.
    """
    if path.suffix == ".npz":
        return weights.load(path)
    if not path.is_dir():
        raise UserError(
            f"there is nothing at {path}: neither a workdir, nor a checkpoint, nor a file of weights (.npz)."
        )
    if not path.name.isdecimal():
        latest = checkpoint.find(path, "latest")
        path = checkpoint.find(path, "best") if checkpoint.read_meta(latest)["best"] else latest
    state, meta = checkpoint.load_raw(path)
    return checkpoint.variables(state), meta


def begin(variables: Variables, config: ConfigDict) -> Variables:
    """Variables of a new model with those that another run has and the config asks for; both lists are printed.

    Parameters, and the running statistics of norms, are taken by `init.params`; the statistics of the training images
    (`input_stats`) go with them where the other model has the same.

    Args:
      variables: params, batch_stats and input_stats as they begin.
      config: the section `init`.

    Returns:
      The same collections; those of `input_stats` are {} where they are still to be measured.

    Raises:
      UserError: nothing to be taken, or a shape differs.
    """
    found, _ = load(Path(config.path))
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
    same = _shapes(found["input_stats"]) == _shapes(variables["input_stats"])
    print(f"taken from {config.path}: {', '.join(taken)}", flush=True)
    print(f"begins anew: {', '.join(fresh) or 'nothing'}", flush=True)
    return {**begun, "input_stats": found["input_stats"] if same else {}}


def _shapes(tree: Variables) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in zip(params.names(tree), jax.tree.leaves(tree), strict=True)}
