"""The optimizer, its schedule, frozen parameters, and the exponential moving average (EMA) of weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.core.params import matching
from seqdigits.core.types import Variables

OPTIMIZERS = {
    "adam": lambda _config: optax.scale_by_adam(),
    "adamw": lambda _config: optax.scale_by_adam(),  # `optimizer` adds the weight decay
    # The constants of adagrad and rmsprop are the defaults of TensorFlow 1, not those of optax.
    "adagrad": lambda _config: optax.scale_by_rss(initial_accumulator_value=0.1),
    "rmsprop": lambda _config: optax.scale_by_rms(decay=0.9, eps=1e-10, initial_scale=1.0),
    "sgd": lambda config: optax.trace(config.momentum) if config.momentum else optax.identity(),
}
"""Name -> function from the config section `optim` to the gradient transformation."""

WEIGHT_DECAY_OPTIMIZERS = ("adamw", "sgd")
"""Optimizers that support weight decay."""


def _exponential(config: ConfigDict, staircase: bool) -> optax.Schedule:
    return optax.exponential_decay(config.learning_rate, config.decay_steps, config.decay_rate, staircase=staircase)


def _piecewise(config: ConfigDict) -> optax.Schedule:
    steps, rates = zip(*parse_boundaries(config.boundaries), strict=True)
    constants = [optax.constant_schedule(value) for value in (config.learning_rate, *rates)]
    return optax.join_schedules(constants, [step - config.warmup_steps for step in steps])


def _inverse_time(config: ConfigDict) -> optax.Schedule:
    rate = config.learning_rate
    return lambda t: rate / (1 + config.decay_rate * t / config.decay_steps)


SCHEDULES: dict[str, Callable[[ConfigDict], optax.Schedule]] = {
    "constant": lambda config: optax.constant_schedule(config.learning_rate),
    "cosine": lambda config: optax.cosine_decay_schedule(
        config.learning_rate, config.decay_steps - config.warmup_steps
    ),
    "exponential": lambda config: _exponential(config, staircase=False),
    "staircase": lambda config: _exponential(config, staircase=True),
    "inverse_time": _inverse_time,
    "piecewise": _piecewise,
}
"""Name -> function from the config section `optim` to the learning rate after the warm-up, see `schedule`."""


def schedule(config: ConfigDict) -> optax.Schedule:
    """Returns the learning rate schedule, a function of the step.

    Its horizon is `decay_steps`, not the length of the run, so that a longer run has the same learning rates up to
    then. The rate rises linearly from 0 to learning_rate during the warm-up of w = warmup_steps steps. At a later
    step t it is:

    - constant: learning_rate
    - cosine: decays from learning_rate to 0 at t = decay_steps
    - exponential: learning_rate x decay_rate^((t - w) / decay_steps)
    - staircase: the same, with the exponent rounded down
    - inverse_time: learning_rate / (1 + decay_rate x (t - w) / decay_steps)
    - piecewise: learning_rate, then the rates of `boundaries`, each from its step on

    Args:
      config: the config section `optim`.

    >>> config = ConfigDict({"schedule": "cosine", "learning_rate": 1.0, "warmup_steps": 10, "decay_steps": 110})
    >>> [round(float(schedule(config)(t)), 3) for t in (0, 5, 10, 60, 110, 500)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    >>> config = ConfigDict({"learning_rate": 8.0, "warmup_steps": 0, "decay_steps": 10, "decay_rate": 0.25})
    >>> for name in ("exponential", "staircase", "inverse_time"):
    ...     config.schedule = name
    ...     print([round(float(schedule(config)(t)), 3) for t in (0, 5, 9, 10, 20)])
    [8.0, 4.0, 2.297, 2.0, 0.5]
    [8.0, 8.0, 8.0, 2.0, 0.5]
    [8.0, 7.111, 6.531, 6.4, 5.333]
    >>> config = ConfigDict({"schedule": "piecewise", "learning_rate": 1.0, "warmup_steps": 0, "boundaries": "10: 0.5, 20: 0.125"})
    >>> [float(schedule(config)(t)) for t in (0, 9, 10, 19, 20, 99)]
    [1.0, 1.0, 0.5, 0.5, 0.125, 0.125]
    """
    after = SCHEDULES[config.schedule](config)
    if not config.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def parse_boundaries(text: str) -> list[tuple[int, float]]:
    """Returns the steps at which the learning rate changes, each with the new rate, in order.

    >>> parse_boundaries("20000: 5e-5, 40000: 1e-5")
    [(20000, 5e-05), (40000, 1e-05)]

    Raises:
      UserError: the text cannot be parsed, or its steps do not increase.
    """
    try:
        parts = [part.split(":") for part in text.split(",")]
        boundaries = [(int(step), float(rate)) for step, rate in parts]
    except ValueError:
        boundaries = []
    steps, rates = [step for step, _ in boundaries], [rate for _, rate in boundaries]
    if (
        not boundaries
        or steps != sorted(set(steps))
        or steps[0] < 1
        or not all(0 <= rate < math.inf for rate in rates)
        or steps[-1] > 2**31 - 1
    ):
        raise UserError(
            f"optim.boundaries = {text!r} cannot be parsed: write increasing steps from 1 on, each with a learning rate, "
            "for example '20000: 5e-5, 40000: 1e-5'."
        )
    return boundaries


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Returns the optimizer: gradient clipping, the method, weight decay, learning rate, in this order.

    Weight decay is decoupled (Loshchilov and Hutter 2019, arXiv:1711.05101) and applies to kernels only: biases,
    scales and shifts are not decayed.

    Args:
      config: the config section `optim`.
    """
    parts = []
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    parts.append(OPTIMIZERS[config.name](config))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=kernel_mask))
    parts.append(optax.scale_by_learning_rate(schedule(config)))
    return optax.chain(*parts)


def kernel_mask(params: Variables) -> Variables:
    """Returns a tree of bool, True for the kernels, which weight decay applies to."""
    return matching(params, ".*/kernel")


def freeze(tree: Variables, frozen: str) -> Variables:
    """Stops the gradient of the parameters whose names match the pattern `frozen`."""
    return jax.tree.map(lambda x, is_frozen: jax.lax.stop_gradient(x) if is_frozen else x, tree, matching(tree, frozen))


def restore_frozen(old: Variables, new: Variables, frozen: str) -> Variables:
    """Returns the new tree with the leaves that match the pattern `frozen` taken from the old tree.

    Without it, weight decay would change frozen parameters. optax.masked is no alternative: it changes the tree of
    the optimizer state, and with it the format of checkpoints.
    """
    return jax.tree.map(lambda o, n, is_frozen: o if is_frozen else n, old, new, matching(old, frozen))


def update_ema(average: Variables, current: Variables, decay: float, step: Array) -> Variables:
    """Returns the exponential moving average of the weights after `step` updates.

    The decay is min(decay, (1 + step) / (10 + step)), so that the average soon forgets the initial weights.
    """
    step_decay = jnp.minimum(decay, (1 + step) / (10 + step))
    # optax.incremental_update computes (1 - w) a + w c, which alters the last bits of frozen weights; this form does not.
    return jax.tree.map(lambda a, c: a + (1 - step_decay) * (c - a), average, current)
