"""Checks of the section `optim`."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config_checks.checks import refuse_unread
from seqdigits.core.errors import UserError
from seqdigits.optim import DECAYED, parse_boundaries


def validate_optimizer(config: ConfigDict) -> None:
    optim = config.optim
    by_rate = optim.schedule in ("exponential", "staircase", "inverse_time")
    if optim.schedule == "cosine" and optim.decay_steps <= optim.warmup_steps:
        raise UserError(
            f"optim.decay_steps = {optim.decay_steps} is not beyond optim.warmup_steps = {optim.warmup_steps}. "
            f"optim.schedule = cosine reaches 0 there: set it to train.steps = {config.train.steps}, for example."
        )
    if by_rate and not (optim.decay_steps and optim.decay_rate):
        raise UserError(
            f"optim.decay_steps = {optim.decay_steps}, optim.decay_rate = {optim.decay_rate}: optim.schedule = "
            f"{optim.schedule} needs both, for example 10000 and 0.96."
        )
    if optim.schedule == "piecewise":
        first = parse_boundaries(optim.boundaries)[0][0]
        if first < optim.warmup_steps:
            raise UserError(
                f"optim.boundaries = {optim.boundaries!r} begins within optim.warmup_steps = {optim.warmup_steps}."
            )
    unread = {
        "optim.decay_steps": optim.schedule in ("constant", "piecewise"),
        "optim.decay_rate": not by_rate,
        "optim.boundaries": optim.schedule != "piecewise",
    }
    refuse_unread(config, unread, f"optim.schedule = {optim.schedule}")
    unread = {"optim.momentum": optim.name != "sgd", "optim.weight_decay": optim.name not in DECAYED}
    refuse_unread(config, unread, f"optim.name = {optim.name}")
    if optim.moving_average == 1:
        raise UserError("optim.moving_average = 1 would never move. Allowed are 0 (off) to below 1, for example 0.999.")
