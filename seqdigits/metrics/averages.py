"""Named averages that are accumulated on the device and merged over steps."""

from typing import Any

import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics
from jax import Array

Averages = dict[str, clu_metrics.Average]
"""Named averages of training: each a total and a count."""


def averages(values: dict[str, Array], mask: Array) -> Averages:
    """Per-example values f32 [B], and scalars that count once, as averages over the rows that are not padding."""
    return {
        name: clu_metrics.Average.from_model_output(value, mask if value.ndim else None)
        for name, value in values.items()
    }


def merge(a: Averages, b: Averages) -> Averages:
    """Both together; the same names."""
    return {name: a[name].merge(b[name]) for name in b}


def zeros_like(shapes: Any) -> Any:
    """A tree of zeros in the shapes and dtypes of a tree, the neutral element of every merge here."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def compute(values: Averages) -> dict[str, float]:
    """The averages, on the host."""
    return {name: float(value.compute()) for name, value in values.items()}
