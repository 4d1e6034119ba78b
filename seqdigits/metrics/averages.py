"""Named averages that are accumulated on the device and merged over steps."""

from typing import Any

import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics
from jax import Array

Averages = dict[str, clu_metrics.Average]
"""Named averages of training: each a total and a count."""


def averages(values: dict[str, Array], mask: Array) -> Averages:
    """Returns averages of per-example values f32 [B] over the rows that are not padding; a scalar counts once."""
    return {
        name: clu_metrics.Average.from_model_output(value, mask if value.ndim else None)
        for name, value in values.items()
    }


def merge(a: Averages, b: Averages) -> Averages:
    """Merges two dicts of averages with the same names."""
    return {name: a[name].merge(b[name]) for name in b}


def skip(values: Averages, is_skipped: Array, counted: str) -> Averages:
    """Returns the averages of a step, empty if it is skipped.

    Only the count of the average `counted` is kept in any case. Its difference from the count of another average over
    steps is the number of skipped steps. So skipped steps need no entry of their own.

    Args:
      values: the averages of one step.
      is_skipped: bool [].
      counted: name of an average over steps.
    """
    kept = jax.tree.map(lambda x: jnp.where(is_skipped, jnp.zeros_like(x), x), values)
    return kept | {counted: kept[counted].replace(count=values[counted].count)}


def zeros_like(shapes: Any) -> Any:
    """Returns a tree of zeros with the shapes and dtypes of a tree, the neutral element of every merge here."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def compute(values: Averages) -> dict[str, float]:
    """Returns the averages as floats, on the host."""
    return {name: float(value.compute()) for name, value in values.items()}
