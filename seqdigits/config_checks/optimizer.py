"""Checks of the section `optim`."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config_checks.checks import refuse_unread
from seqdigits.core.errors import UserError
from seqdigits.optim import WEIGHT_DECAY_OPTIMIZERS, parse_boundaries


def validate_optimizer(config: ConfigDict) -> None:
    """Refuses values of `optim` that contradict one another.

    Raises:
      UserError: naming the key, its value, what is allowed, and the fix.
    """
    optim = config.optim
    uses_rate = optim.schedule in ("exponential", "staircase", "inverse_time")
    if optim.schedule == "cosine" and optim.decay_steps <= optim.warmup_steps:
        raise UserError(
            f"optim.decay_steps = {optim.decay_steps} must be greater than optim.warmup_steps = {optim.warmup_steps}: "
            f"optim.schedule = cosine reaches 0 at this step. Set it to train.steps = {config.train.steps}, for example."
        )
    if uses_rate and not (optim.decay_steps and optim.decay_rate):
        raise UserError(
            f"optim.decay_steps = {optim.decay_steps}, optim.decay_rate = {optim.decay_rate}: optim.schedule = "
            f"{optim.schedule} needs both, for example 10000 and 0.96."
        )
    if optim.schedule == "piecewise":
        first = parse_boundaries(optim.boundaries)[0][0]
        if first < optim.warmup_steps:
            raise UserError(
                f"optim.boundaries = {optim.boundaries!r} starts within the warm-up of optim.warmup_steps = {optim.warmup_steps}. Set "
                f"its first step to {optim.warmup_steps} or later."
            )
    unread = {
        "optim.decay_steps": optim.schedule in ("constant", "piecewise"),
        "optim.decay_rate": not uses_rate,
        "optim.boundaries": optim.schedule != "piecewise",
    }
    refuse_unread(config, unread, f"optim.schedule = {optim.schedule}")
    unread = {"optim.momentum": optim.name != "sgd", "optim.weight_decay": optim.name not in WEIGHT_DECAY_OPTIMIZERS}
    refuse_unread(config, unread, f"optim.name = {optim.name}")
    if optim.momentum == 1:
        raise UserError(
            "optim.momentum = 1: old gradients would never fade. Allowed are 0 (off) to below 1, for example 0.9."
        )
    if optim.moving_average == 1:
        raise UserError(
            "optim.moving_average = 1: the average would never change. Allowed are 0 (off) to below 1, for example 0.999."
        )
