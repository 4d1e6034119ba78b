"""What a config may be: unknown names and impossible combinations are refused before any device work."""

from __future__ import annotations

import math

from ml_collections import ConfigDict

from seqdigits.config.defaults import METRICS, reads_box
from seqdigits.config_checks.checks import get, one_of, refuse_unread
from seqdigits.config_checks.data import validate_data
from seqdigits.config_checks.model import validate_model
from seqdigits.config_checks.optimizer import validate_optimizer
from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.core.types import SPLITS
from seqdigits.data import digits, record_location, scenes
from seqdigits.data.create import SOURCES
from seqdigits.data.photos import svhn, svhn_cropped
from seqdigits.data.photos.crop import KINDS
from seqdigits.data.synthetic import compositions
from seqdigits.models import pixels, stack
from seqdigits.models.build import MODELS
from seqdigits.models.losses import DIGIT_LOSSES, POSITIONS
from seqdigits.models.targets import TARGETS
from seqdigits.optim import OPTIMIZERS, SCHEDULES
from seqdigits.parallel.devices import PARALLEL


def validate(config: ConfigDict) -> None:
    """Refuses what cannot run.

    Raises:
      UserError: naming the key, its value, what is allowed, and the cure.
    """
    one_of(config, "data.digits", digits.DIGITS)
    one_of(config, "parallel", PARALLEL)
    one_of(config, "data.photographs", (*svhn.PHOTOGRAPHS, svhn_cropped.NAME, "own"))
    one_of(config, "data.source", SOURCES)
    one_of(config, "data.records_form", record_location.FORMS)
    one_of(config, "data.composition", (*compositions.COMPOSITIONS, scenes.NAME, *KINDS))
    one_of(config, "loss.digit_loss", DIGIT_LOSSES)
    one_of(config, "loss.positions", POSITIONS)
    one_of(config, "loss.target", TARGETS)
    one_of(config, "model.name", MODELS)
    one_of(config, "model.pixels", pixels.PIXELS)
    one_of(config, "model.kernel_init", stack.KERNEL_INITS)
    one_of(config, "optim.name", OPTIMIZERS)
    one_of(config, "optim.schedule", SCHEDULES)
    one_of(config, "train.best_metric", METRICS)
    for key, least, most in _RANGES:
        value = get(config, key)
        if not (least <= value <= most and math.isfinite(value)):
            allowed = f"{least} to {most}" if most < _MANY else f"{least} or more"
            raise UserError(f"{key} = {value} is out of range: {allowed}.")
    validate_data(config)
    validate_model(config)
    _validate_training(config)


_MANY = 2**31 - 1

_WEIGHTS = ("digits", "no_digit", "box", "cells", "cell_boxes", "background", "l2")
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("seed", 0, 2**32 - 1),
    ("data.seed", 0, 2**32 - 1),
    ("data.validation_percent", 0, 99),
    ("data.height", digits.SIZE, 8192),
    ("data.width", digits.SIZE, 8192),
    ("data.jitter", 0, 8192),
    ("data.cutout", 0, 8192),
    ("data.min_length", 1, 100),
    ("data.max_length", 1, 100),
    ("data.max_numbers", 1, 8),
    ("data.min_digit", 8, 512),
    ("data.max_digit", 8, 512),
    ("data.train_examples", 0, _MANY),
    ("data.validation_examples", 0, _MANY),
    ("data.test_examples", 0, _MANY),
    ("data.rotation", 0, 45),
    ("data.zoom", 0, 90),
    ("data.shear", 0, 90),
    ("data.shift", 0, digits.SIZE),
    ("data.elastic", 0, 400),
    ("data.colour", 0, 60),
    ("data.train_min_length", 0, 100),
    ("data.train_height", 0, 8192),
    ("data.train_width", 0, 8192),
    ("data.train_photographs", 0, _MANY),
    ("read.min_score", 0, 1),
    ("read.max_overlap", 0, 1),
    ("read.max_numbers", 1, 100),
    ("read.halvings", 0, 4),
    ("read.temperature", 0.01, 100),
    ("read.slope", 0.01, 100),
    ("read.offset", -100, 100),
    *((f"loss.{name}", 0, float("inf")) for name in _WEIGHTS),
    ("loss.target_radius", 0, 2),
    ("loss.smoothing", 0, 0.9),
    ("optim.learning_rate", 0, float("inf")),
    ("optim.momentum", 0, 1),
    ("optim.decay_rate", 0, float("inf")),
    ("optim.warmup_steps", 0, _MANY),
    ("optim.decay_steps", 0, _MANY),
    ("optim.weight_decay", 0, float("inf")),
    ("optim.clip_norm", 0, float("inf")),
    ("optim.moving_average", 0, 1),
    ("train.batch_size", 1, _MANY),
    ("train.steps", 1, _MANY),
    ("train.steps_per_call", 1, _MANY),
    ("train.log_every", 1, _MANY),
    ("train.checkpoint_every", 1, _MANY),
    ("train.keep_checkpoints", 1, _MANY),
    ("evaluate.every", 1, _MANY),
    ("evaluate.examples", 0, _MANY),
    ("evaluate.batch_size", 1, _MANY),
)


def _validate_training(config: ConfigDict) -> None:
    train = config.train
    validate_optimizer(config)
    for key in ("init.params", "loss.l2_params", "optim.freeze"):
        params.check_syntax(get(config, key), key)
    refuse_unread(config, {"init.params": not config.init.path}, "init.path = ''")
    if not reads_box(config) and config.train.best_metric == "localization_error":
        raise UserError("train.best_metric = localization_error: the model has no box. Name another metric.")
    if bool(config.loss.l2) != bool(config.loss.l2_params):
        raise UserError(
            f"loss.l2 = {config.loss.l2}, loss.l2_params = {config.loss.l2_params!r}: give both, a weight and a pattern such as "
            "'encoder/.*/kernel', or neither."
        )
    if train.steps * train.batch_size > _MANY:
        raise UserError(
            f"train.steps x train.batch_size = {train.steps * train.batch_size:,} examples; at most {_MANY:,} can be "
            "counted. Make train.steps smaller."
        )
    for split in config.evaluate.splits:
        if split not in SPLITS:
            raise UserError(f"evaluate.splits has {split!r}. Allowed are {', '.join(SPLITS)}.")
