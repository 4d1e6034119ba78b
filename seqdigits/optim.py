"""The optimiser, its schedule, and the moving average of weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from seqdigits.batch import Variables

OPTIMIZERS = {"adam": optax.scale_by_adam, "sgd": optax.identity}
SCHEDULES = ("constant", "cosine")


def schedule(config: ConfigDict) -> optax.Schedule:
    """The learning rate by step, from the config's section `optim`: its horizon is `decay_steps`, not the length of the
    run, so that a run may be made longer without changing its past.

    >>> config = ConfigDict({"schedule": "cosine", "learning_rate": 1.0, "warmup_steps": 10, "decay_steps": 110})
    >>> [round(float(schedule(config)(t)), 3) for t in (0, 5, 10, 60, 110, 500)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """
    if config.schedule == "constant":
        after = optax.constant_schedule(config.learning_rate)
    else:
        after = optax.cosine_decay_schedule(config.learning_rate, config.decay_steps - config.warmup_steps)
    if not config.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Clipping, then the method, then decoupled weight decay of kernels (Loshchilov and Hutter 2019, arXiv:1711.05101;
    biases, scales and shifts are not decayed), then the learning rate."""
    parts = []
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    parts.append(OPTIMIZERS[config.name]())
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=kernels))
    parts.append(optax.scale_by_learning_rate(schedule(config)))
    return optax.chain(*parts)


def kernels(params: Variables) -> Variables:
    """A tree of bool: True at the parameters that weight decay shrinks."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def move_average(average: Variables, current: Variables, decay: float, step: Array) -> Variables:
    """The moving average after `step` updates: decay is min(decay, (1 + step) / (10 + step)), so that the first weights
    are soon forgotten."""
    weight = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, c: weight * a + (1 - weight) * c, average, current)
