"""What a config may be: unknown names and impossible combinations are refused before any device work."""

from __future__ import annotations

import math

from ml_collections import ConfigDict

from seqdigits.config.defaults import COUNT, KEYS, get, predicts_box
from seqdigits.config.upgrade import RENAMED_VALUES
from seqdigits.config_checks.checks import refuse_unread
from seqdigits.config_checks.data import validate_data
from seqdigits.config_checks.model import validate_model
from seqdigits.config_checks.optimizer import validate_optimizer
from seqdigits.core import params
from seqdigits.core.errors import UserError


def validate(config: ConfigDict) -> None:
    """Refuses what cannot run.

    Raises:
      UserError: naming the key, its value, what is allowed, and the cure.
    """
    _validate_keys(config)
    validate_data(config)
    validate_model(config)
    _validate_training(config)


def _validate_keys(config: ConfigDict) -> None:
    """Refuses values that their own key does not allow, whatever the others are."""
    for key in KEYS:
        value = get(config, key.name)
        if key.allowed and isinstance(value, tuple):
            for element in value:
                if element not in key.allowed:
                    raise UserError(f"{key.name} has {element!r}. Allowed are {key.allowed_text()}.")
        elif key.allowed and value not in key.allowed:
            renamed = RENAMED_VALUES.get(key.name, {}).get(value)
            hint = f" {value!r} was renamed to {renamed!r}." if renamed else ""
            raise UserError(f"{key.name} = {value!r} is not known.{hint} Allowed are {key.allowed_text()}.")
        if key.low is not None:
            high = math.inf if key.high is None else key.high
            if not (key.low <= value <= high and math.isfinite(value)):
                raise UserError(f"{key.name} = {value} is out of range: {key.allowed_text()}.")


def _validate_training(config: ConfigDict) -> None:
    train = config.train
    validate_optimizer(config)
    for key in ("init.params", "loss.l2_params", "optim.freeze"):
        params.check_syntax(get(config, key), key)
    refuse_unread(config, {"init.params": not config.init.path}, "init.path = ''")
    if not predicts_box(config) and config.train.best_metric == "localization_error":
        raise UserError("train.best_metric = localization_error: the model has no box. Name another metric.")
    if bool(config.loss.l2) != bool(config.loss.l2_params):
        raise UserError(
            f"loss.l2 = {config.loss.l2}, loss.l2_params = {config.loss.l2_params!r}: give both, a weight and a pattern such as "
            "'encoder/.*/kernel', or neither."
        )
    if train.steps * train.batch_size > COUNT:
        raise UserError(
            f"train.steps x train.batch_size = {train.steps * train.batch_size:,} examples; at most {COUNT:,} can be "
            "counted. Make train.steps smaller."
        )
