"""Validates a config: refuses unknown values and invalid combinations before any work on a device."""

from __future__ import annotations

import math

from ml_collections import ConfigDict

from seqdigits.config.defaults import COUNT, KEYS, get, predicts_box
from seqdigits.config.upgrade import check_renamed
from seqdigits.config_checks.checks import refuse_unread
from seqdigits.config_checks.data import validate_data
from seqdigits.config_checks.model import validate_model
from seqdigits.config_checks.optimizer import validate_optimizer
from seqdigits.core import params
from seqdigits.core.errors import UserError


def validate(config: ConfigDict) -> None:
    """Refuses a config that cannot run.

    Raises:
      UserError: naming the key, its value, what is allowed, and the fix.
    """
    _validate_keys(config)
    validate_data(config)
    validate_model(config)
    _validate_training(config)


def _validate_keys(config: ConfigDict) -> None:
    """Refuses values that a key does not allow, independently of the other keys."""
    for key in KEYS:
        value = get(config, key.name)
        check_renamed(key.name, value, key.name)
        if key.allowed and isinstance(value, tuple):
            for element in value:
                if element not in key.allowed:
                    raise UserError(f"{key.name} has {element!r}. Allowed are {key.allowed_text()}.")
                if value.count(element) > 1:
                    raise UserError(f"{key.name} has {element!r} {value.count(element)} times. Name it once.")
        elif key.allowed and value not in key.allowed:
            raise UserError(f"{key.name} = {value!r} is not known. Allowed are {key.allowed_text()}.")
        if key.low is not None:
            high = math.inf if key.high is None else key.high
            if not (key.low <= value <= high and math.isfinite(value)):
                # allowed_text leaves out a limit of COUNT or more.
                allowed = f"at most {key.high}" if value > high >= COUNT else key.allowed_text()
                raise UserError(f"{key.name} = {value} is out of range: {allowed}.")


def _validate_training(config: ConfigDict) -> None:
    """Refuses invalid values of `init`, `optim` and `train`, and of the patterns over parameters."""
    train = config.train
    validate_optimizer(config)
    for key in ("init.params", "loss.l1_params", "loss.l2_params", "optim.freeze"):
        params.check_syntax(get(config, key), key)
    refuse_unread(config, {"init.params": not config.init.path}, "init.path = ''")
    if not predicts_box(config) and config.train.best_metric == "localization_error":
        raise UserError(
            "train.best_metric = localization_error: the model does not predict a box. Choose another metric."
        )
    for name in ("l1", "l2"):
        weight, pattern = config.loss[name], config.loss[f"{name}_params"]
        if bool(weight) != bool(pattern):
            raise UserError(
                f"loss.{name} = {weight}, loss.{name}_params = {pattern!r}: set both, a weight and a pattern such as "
                "'encoder/.*/kernel', or neither."
            )
    if train.batch_size % train.accumulate:
        raise UserError(
            f"train.accumulate = {train.accumulate} does not divide train.batch_size = {train.batch_size}. Set it to a divisor, "
            "or change the latter."
        )
    if train.steps * train.batch_size > COUNT:
        raise UserError(
            f"train.steps x train.batch_size = {train.steps * train.batch_size:,} examples is out of range: at most "
            f"{COUNT:,}. Reduce train.steps."
        )
