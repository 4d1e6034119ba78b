"""Gradient accumulation: the gradient of a batch, summed over micro-batches one after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.types import Batch, Variables

Gradient = tuple[tuple[Array, tuple[dict[str, Array], Variables]], Variables]
"""Loss f32 [], its terms f32 [B] and the new batch_stats, and the gradient, as from jax.value_and_grad."""


def accumulate(
    gradient_of: Callable[[Variables, Variables, Batch, Array, Array], Gradient],
    parts: int,
    params: Variables,
    batch_stats: Variables,
    batch: Batch,
    box: Array,
    dropout: Array,
    axis: str | None = None,
    group: int = 1,
) -> Gradient:
    """Sums losses and gradients over the micro-batches of a batch.

    Row j belongs to micro-batch j // `group` modulo `parts`. So each device splits its own shard, and no example moves to another
    device. Padded rows make the micro-batches equal in size. The running statistics of norms are updated by each
    micro-batch that has an example.

    Args:
      gradient_of: the gradient for params, batch_stats, a micro-batch, its boxes and a dropout key. Its loss is a sum over the
        rows, divided by the number of examples of the whole batch.
      parts: number of micro-batches.
      params: of the model.
      batch_stats: of the model, before the step.
      batch: the batch, or the shard of this device, B rows.
      box: f32 [B, 4], the true box of each example.
      dropout: key of dropout, folded with the number of the micro-batch.
      axis: name of the pmap axis; None without one.
      group: number of adjacent rows that stay together.
    """
    rows = batch.index.shape[0]
    missing = -rows % (parts * group)

    def split(x: Array) -> Array:  # [parts, n, ...]
        x = x.reshape(-1, parts, group, *x.shape[1:]).swapaxes(0, 1)
        return x.reshape(parts, -1, *x.shape[3:])

    def padded(x: Array) -> Array:
        return jnp.concatenate([x, jnp.broadcast_to(x[:1], (missing, *x.shape[1:]))]) if missing else x

    is_missing = split(jnp.arange(rows + missing)) >= rows
    micro_batches: Batch = jax.tree.map(lambda x: split(padded(x)), batch)
    micro_batches = micro_batches.replace(index=jnp.where(is_missing, -1, micro_batches.index))

    def body(carry: Any, inputs: tuple[Array, Batch, Array]) -> tuple[Any, dict[str, Array]]:
        total, batch_stats = carry
        part, micro_batch, micro_box = inputs
        (loss, (terms, updated)), grads = gradient_of(
            params, batch_stats, micro_batch, micro_box, jax.random.fold_in(dropout, part)
        )
        count = jnp.sum(micro_batch.mask)
        has_examples = (jax.lax.psum(count, axis) if axis else count) > 0
        batch_stats = jax.tree.map(partial(jnp.where, has_examples), updated, batch_stats)
        return (jax.tree.map(jnp.add, total, (loss, grads)), batch_stats), terms

    inputs = (jnp.arange(parts), micro_batches, split(padded(box)))
    zeros = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    ((loss, grads), batch_stats), terms = jax.lax.scan(body, (zeros, batch_stats), inputs)
    terms = jax.tree.map(lambda x: x.reshape(parts, -1, group).swapaxes(0, 1).reshape(-1)[:rows], terms)  # [B]
    return (loss, (terms, batch_stats)), grads
