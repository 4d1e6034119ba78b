"""The base config: every key once. An experiment in `configs/` holds only its differences.

`validate` refuses unknown names and impossible combinations before any device work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from seqdigits.data import compose, digits
from seqdigits.errors import UserError
from seqdigits.models import layers, pixels
from seqdigits.models.build import MODELS
from seqdigits.optim import OPTIMIZERS, SCHEDULES

METRICS = ("sequence_accuracy", "character_accuracy", "digit_accuracy", "length_accuracy")
"""What the best checkpoint may be chosen by; more is better."""

FREE_KEYS = (
    "data.folder",
    "data.url",
    "read.min_score",
    "read.max_overlap",
    "train.steps",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "evaluate.every",
    "evaluate.examples",
    "evaluate.batch_size",
    "evaluate.splits",
)
"""Keys that may change when a run goes on; all others are its identity."""


def base_config() -> ConfigDict:
    """Every key with its default; locked, so that a misspelled key is refused."""
    config = ConfigDict()
    config.seed = 0  # of initial weights, order, dropout, augmentation and endless training examples

    config.data = data = ConfigDict()
    data.digits = "mnist"  # uci | mnist
    data.folder = (
        ""  # where data files lie (MNIST's in its subfolder mnist); "" = $SEQDIGITS_DATA, or ~/.cache/seqdigits
    )
    data.url = "https://storage.googleapis.com/cvdf-datasets/mnist"  # where missing MNIST files come from
    data.validation_percent = (
        0  # of the digits to train on, held out for validation; 0 = the set's own (mnist 5,000, uci 270)
    )
    data.composition = "canvas"  # digit: each digit of the split as it stands | canvas: several on a black ground
    data.height = 128  # canvas: pixels
    data.width = 256
    data.min_length = 5  # digits in an image
    data.max_length = 5
    data.train_examples = 165_000  # canvas: how many; 0 = endless
    data.validation_examples = 15_000
    data.test_examples = 30_000
    data.seed = 0  # of the canvases of finite sets, and of all validation and test canvases
    data.rotation = 0  # augmentation of each digit in training: at most this, either way; degrees
    data.zoom = 0  # percent; larger or smaller by 1 / (1 +- this)
    data.shear = 0  # percent
    data.shift = 0  # pixels

    config.model = model = ConfigDict()
    model.name = "reader"  # heads: a dense head a position | gru: a GRU unrolls the positions | reader: dense reader
    model.pixels = "unit"  # unit: 0..1 | raw: 0..255 | image_mean | per_pixel; see models/pixels.py
    model.encoder = ""  # layers from the image on, as text; see models/layers.py
    model.head = ""  # heads, gru: layers of each position's head before its last dense layer
    model.gru_units = 0  # gru
    model.localize = False  # heads, gru: whether there is a head for the box of the whole sequence
    model.box_head = ""  # its layers before the last dense layer
    model.kernel_init = "lecun_normal"  # lecun_normal | glorot_uniform | truncated_normal (deviation 0.1)
    model.bias_init = 0.0

    config.read = read = ConfigDict()
    read.min_score = 0.4  # reader: there is a digit if the cells that point at it say so with at least this together
    read.max_overlap = 0.4  # reader: cells whose boxes overlap by more (IoU) point at the same digit

    config.loss = loss = ConfigDict()  # weights; 0 = not there
    loss.digits = 0.0  # heads, gru: mean cross entropy of positions
    loss.box = 0.0  # with model.localize: mean squared error of the box, px²
    loss.cells = 0.0  # reader: cross entropy of cells
    loss.cell_boxes = 0.0  # reader: L1 of the digits' boxes, in cells
    loss.background = 0.2  # reader: weight of a cell without a digit, within `cells`

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # adam | sgd
    optim.learning_rate = 1e-3
    optim.schedule = "constant"  # constant | cosine, from learning_rate to 0
    optim.warmup_steps = 0  # linear from 0, before the schedule
    optim.decay_steps = 0  # cosine: the step at which 0 is reached, warm-up included
    optim.weight_decay = 0.0  # decoupled, of kernels only
    optim.clip_norm = 0.0  # largest norm of the gradient; 0 = no clipping
    optim.moving_average = 0.0  # decay of the average of weights that is evaluated; 0 = the weights themselves

    config.train = train = ConfigDict()
    train.batch_size = 50  # over all devices
    train.steps = 1_000
    train.steps_per_call = 1  # steps in one compiled call; more is for accelerators only (8 times slower on a CPU)
    train.log_every = 100  # steps
    train.checkpoint_every = 1_000  # steps
    train.keep_checkpoints = 2  # the newest so many stay, and the best
    train.best_metric = "sequence_accuracy"  # of validation: what the best checkpoint is best in

    config.evaluate = evaluate = ConfigDict()
    evaluate.every = 1_000  # steps, on validation
    evaluate.examples = 2_000  # how many of them; 0 = all
    evaluate.batch_size = 200
    evaluate.splits = ("train", "validation", "test")  # at the end of a training run, whole; of train the first 10,000
    return config.lock()


def validate(config: ConfigDict) -> None:
    """Refuses what cannot run.

    Raises:
      UserError: naming the key, its value, what is allowed, and the cure.
    """
    _one_of(config, "data.digits", digits.DIGITS)
    _one_of(config, "data.composition", compose.COMPOSITIONS)
    _one_of(config, "model.name", MODELS)
    _one_of(config, "model.pixels", pixels.PIXELS)
    _one_of(config, "model.kernel_init", layers.KERNEL_INITS)
    _one_of(config, "optim.name", OPTIMIZERS)
    _one_of(config, "optim.schedule", SCHEDULES)
    _one_of(config, "train.best_metric", METRICS)
    for key, least, most in _RANGES:
        value = _get(config, key)
        if not (least <= value <= most and math.isfinite(value)):
            raise UserError(f"{key} = {value} is out of range: {least} to {most if most < 2**31 - 1 else '...'}.")
    _validate_data(config)
    _validate_model(config)
    _validate_training(config)


_MANY = 2**31 - 1
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("seed", 0, 2**32 - 1),
    ("data.seed", 0, 2**32 - 1),
    ("data.validation_percent", 0, 99),
    ("data.height", digits.SIZE, 8192),
    ("data.width", digits.SIZE, 8192),
    ("data.min_length", 1, 100),
    ("data.max_length", 1, 100),
    ("data.train_examples", 0, _MANY),
    ("data.validation_examples", 0, _MANY),
    ("data.test_examples", 0, _MANY),
    ("data.rotation", 0, 45),
    ("data.zoom", 0, 90),
    ("data.shear", 0, 90),
    ("data.shift", 0, digits.SIZE),
    ("read.min_score", 0, 1),
    ("read.max_overlap", 0, 1),
    *((f"loss.{name}", 0, float("inf")) for name in ("digits", "box", "cells", "cell_boxes", "background")),
    ("optim.learning_rate", 0, float("inf")),
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


def _validate_data(config: ConfigDict) -> None:
    data = config.data
    if data.composition == "digit":
        if (data.min_length, data.max_length) != (1, 1):
            raise UserError(
                f"data.min_length, data.max_length = {data.min_length}, {data.max_length}: data.composition = digit has "
                "one digit an image. Set both to 1, or data.composition to canvas."
            )
    else:
        if data.min_length > data.max_length:
            raise UserError(f"data.min_length = {data.min_length} is more than data.max_length = {data.max_length}.")
        if data.max_length * digits.SIZE > data.width:
            raise UserError(
                f"data.max_length = {data.max_length} digits of {digits.SIZE} pixels do not fit into data.width = "
                f"{data.width}. At most {data.width // digits.SIZE} do."
            )
        for key in ("validation_examples", "test_examples"):
            if data[key] == 0:
                raise UserError(f"data.{key} = 0: only the training set can be endless. Give a number.")


def _validate_model(config: ConfigDict) -> None:
    model = config.model
    encoder = layers.parse(model.encoder, "model.encoder")
    layers.parse(model.head, "model.head", flat=True)
    layers.parse(model.box_head, "model.box_head", flat=True)
    data = config.data
    height, width = (digits.SIZE, digits.SIZE) if data.composition == "digit" else (data.height, data.width)
    h, w = layers.output_size(encoder, height, width, "model.encoder")
    reader = model.name == "reader"
    if model.name == "gru" and model.gru_units < 1:
        raise UserError(f"model.gru_units = {model.gru_units}: model.name = gru needs at least 1, for example 576.")
    if reader and any(layer.kind == "dense" for layer in encoder):
        raise UserError("model.encoder has a dense layer, which leaves no grid for model.name = reader. Remove it.")
    stride = layers.total_stride(encoder)
    if reader and (h * stride, w * stride) != (height, width):
        raise UserError(
            f"model.encoder turns {height}x{width} into {h}x{w} with a stride of {stride}: the cells of a reader must be "
            "squares that fill the image. Change its strides or pools, or data.height and data.width."
        )
    unread = {
        "model.gru_units": model.name != "gru",
        "model.head": reader,
        "model.localize": reader,
        "model.box_head": reader or not model.localize,
        "loss.digits": reader,
        "loss.box": not model.localize,
        "loss.cells": not reader,
        "loss.cell_boxes": not reader,
    }
    for key, is_unread in unread.items():
        if is_unread and _get(config, key):
            raise UserError(
                f"{key} = {_get(config, key)!r} means nothing with model.name = {model.name} and model.localize = "
                f"{model.localize}. Take it out, or change the model."
            )
    for key in ("loss.cells", "loss.cell_boxes") if reader else ("loss.digits",):
        if not _get(config, key):
            raise UserError(f"{key} = 0: model.name = {model.name} would not learn to read. Set it to 1, for example.")


def _validate_training(config: ConfigDict) -> None:
    optim, train = config.optim, config.train
    if optim.schedule == "cosine" and optim.decay_steps <= optim.warmup_steps:
        raise UserError(
            f"optim.decay_steps = {optim.decay_steps} is not beyond optim.warmup_steps = {optim.warmup_steps}. "
            f"optim.schedule = cosine reaches 0 there: set it to train.steps = {train.steps}, for example."
        )
    if optim.schedule == "constant" and optim.decay_steps:
        raise UserError(
            f"optim.decay_steps = {optim.decay_steps} means nothing with optim.schedule = constant. Set it to 0, or "
            "optim.schedule to cosine."
        )
    if optim.moving_average == 1:
        raise UserError("optim.moving_average = 1 would never move. Allowed are 0 (off) to below 1, for example 0.999.")
    if train.steps * train.batch_size > _MANY:
        raise UserError(
            f"train.steps x train.batch_size = {train.steps * train.batch_size:,} examples; at most {_MANY:,} can be "
            "counted. Make train.steps smaller."
        )
    intervals = ("train.steps", "train.log_every", "train.checkpoint_every", "evaluate.every")
    common = math.gcd(*(_get(config, key) for key in intervals))
    if common % train.steps_per_call:
        small = (n for n in range(1, math.isqrt(common) + 1) if common % n == 0)
        near = min((d for n in small for d in (n, common // n)), key=lambda d: (abs(d - train.steps_per_call), d))
        raise UserError(
            f"train.steps_per_call = {train.steps_per_call} does not divide all of "
            + ", ".join(f"{key} = {_get(config, key)}" for key in intervals)
            + f". The nearest that does is {near}."
        )
    for split in config.evaluate.splits:
        if split not in digits.SPLITS:
            raise UserError(f"evaluate.splits has {split!r}. Allowed are {', '.join(digits.SPLITS)}.")


def _get(config: ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def _one_of(config: ConfigDict, key: str, allowed: Iterable[str]) -> None:
    if _get(config, key) not in allowed:
        raise UserError(f"{key} = {_get(config, key)!r} is not known. Allowed are {', '.join(allowed)}.")


def to_json(config: ConfigDict) -> str:
    """The config as JSON text, keys in their order."""
    return json.dumps(config.to_dict(), indent=2)


def changes(config: ConfigDict, saved: dict[str, Any], sections: tuple[str, ...] = ()) -> list[str]:
    """Where a config differs from a saved one: "key: SAVED -> NEW". A key that was not there yet counts as its default.

    `sections`: only keys of these; () = all that make a run another run (FREE_KEYS are left out).
    """
    now = _flat(json.loads(to_json(config)))
    then = {**_flat(json.loads(to_json(base_config()))), **_flat(saved)}
    return [
        f"{key}: {then.get(key)!r} -> {now.get(key)!r}"
        for key in sorted(now.keys() | then.keys())
        if now.get(key) != then.get(key) and (key.split(".")[0] in sections if sections else key not in FREE_KEYS)
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
