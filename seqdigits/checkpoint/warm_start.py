"""Initializes a run from the variables of another run."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict

from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


def initialize_from(variables: Variables, source: Variables, config: ConfigDict) -> Variables:
    """Returns the variables of a new model, initialized from those of another run; prints their names.

    The pattern `init.params` selects the parameters, and the running statistics of norms, that are taken. The
    statistics of the pixels that the encoder was trained on are taken together with the encoder, if this model has
    any.

    Args:
      variables: params, batch_stats and input_stats of the new model, randomly initialized.
      source: those of the other run, from `load_variables`.
      config: the config section `init`.

    Returns:
      The same collections. `input_stats` has only what is taken; the caller measures the rest.

    Raises:
      UserError: the pattern selects nothing, or a shape differs.
    """
    initialized, taken, random = {}, [], []
    for collection in ("params", "batch_stats"):
        old = dict(zip(params.names(source[collection]), jax.tree.leaves(source[collection]), strict=True))
        new = variables[collection]
        leaves = []
        selected = jax.tree.leaves(params.matching(new, config.params))
        for name, leaf, is_selected in zip(params.names(new), jax.tree.leaves(new), selected, strict=True):
            if not is_selected or name not in old:
                random.append(name)
                leaves.append(leaf)
                continue
            if old[name].shape != leaf.shape:
                raise UserError(
                    f"init.params = {config.params!r} selects {name}, whose shape is {old[name].shape} in {config.path} and "
                    f"{leaf.shape} in this model. Narrow the pattern, or use the same layers and image size."
                )
            taken.append(name)
            leaves.append(old[name])
        initialized[collection] = jax.tree.unflatten(jax.tree.structure(new), leaves)
    if not taken:
        raise UserError(
            f"init.params = {config.params!r} selects nothing from {config.path}. Its parameters are: "
            f"{', '.join(params.names(source['params']))}."
        )
    print(f"initialized from {config.path}: {params.summarize(taken, random)}", flush=True)
    print(f"randomly initialized: {params.summarize(random, taken) or 'nothing'}", flush=True)
    new, old = (collections["input_stats"].get("pixels", {}) for collections in (variables, source))
    with_encoder = new and any(name.startswith("encoder/") for name in taken)
    if with_encoder and params.shapes(new) != params.shapes(old):
        raise UserError(
            f"init.params = {config.params!r} selects the encoder of {config.path}, which was trained on other pixel "
            f"statistics: {params.shapes(old)}, here {params.shapes(new)}. Use the same model.pixels and image size."
        )
    return {**initialized, "input_stats": {"pixels": old} if with_encoder else {}}
