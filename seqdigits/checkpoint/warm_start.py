"""Beginning a run with what another one learned."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict

from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


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
    print(f"taken from {config.path}: {params.summarize(taken, fresh)}", flush=True)
    print(f"begins anew: {params.summarize(fresh, taken) or 'nothing'}", flush=True)
    mine, theirs = (of["input_stats"].get("pixels", {}) for of in (variables, found))
    with_encoder = mine and any(name.startswith("encoder/") for name in taken)
    if with_encoder and params.shapes(mine) != params.shapes(theirs):
        raise UserError(
            f"init.params = {config.params!r} takes an encoder from {config.path} that was trained with other pixels: there "
            f"{params.shapes(theirs)}, here {params.shapes(mine)}. Use the same model.pixels and size of images."
        )
    return {**begun, "input_stats": {"pixels": theirs} if with_encoder else {}}
