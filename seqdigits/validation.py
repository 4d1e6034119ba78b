"""What a config may be: unknown names and impossible combinations are refused before any device work."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from seqdigits import params
from seqdigits.config import METRICS, base_config, reads_box
from seqdigits.data import augment, compose, digits, records, scene, svhn, svhn_cropped, views
from seqdigits.data.scene import layout
from seqdigits.data.sources import SOURCES, TRAINED_OTHERWISE, image_size
from seqdigits.errors import UserError
from seqdigits.losses import DIGIT_LOSSES, POSITIONS, TARGETS
from seqdigits.models import layers, pixels
from seqdigits.models.build import MODELS
from seqdigits.optim import DECAYED, OPTIMIZERS, SCHEDULES, parse_plan
from seqdigits.parallel import PARALLEL


def validate(config: ConfigDict) -> None:
    """Refuses what cannot run.

    Raises:
      UserError: naming the key, its value, what is allowed, and the cure.
    """
    _one_of(config, "data.digits", digits.DIGITS)
    _one_of(config, "parallel", PARALLEL)
    _one_of(config, "data.photographs", (*svhn.PHOTOGRAPHS, svhn_cropped.NAME, "own"))
    _one_of(config, "data.source", SOURCES)
    _one_of(config, "data.records_form", records.FORMS)
    _one_of(config, "data.composition", (*compose.COMPOSITIONS, scene.NAME, *views.KINDS))
    _one_of(config, "loss.digit_loss", DIGIT_LOSSES)
    _one_of(config, "loss.positions", POSITIONS)
    _one_of(config, "loss.target", TARGETS)
    _one_of(config, "model.name", MODELS)
    _one_of(config, "model.pixels", pixels.PIXELS)
    _one_of(config, "model.kernel_init", layers.KERNEL_INITS)
    _one_of(config, "optim.name", OPTIMIZERS)
    _one_of(config, "optim.schedule", SCHEDULES)
    _one_of(config, "train.best_metric", METRICS)
    for key, least, most in _RANGES:
        value = _get(config, key)
        if not (least <= value <= most and math.isfinite(value)):
            allowed = f"{least} to {most}" if most < _MANY else f"{least} or more"
            raise UserError(f"{key} = {value} is out of range: {allowed}.")
    _validate_data(config)
    _validate_model(config)
    _validate_training(config)


_MANY = 2**31 - 1
_CALL_BYTES = 256_000_000
"""Of streamed images that one compiled call takes, at most."""
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


def _validate_data(config: ConfigDict) -> None:
    data, kind = config.data, config.data.composition
    photographic = kind in views.KINDS
    if kind in ("digit", "cropped_digit"):
        if (data.min_length, data.max_length) != (1, 1):
            raise UserError(
                f"data.min_length, data.max_length = {data.min_length}, {data.max_length}: data.composition = {kind} has "
                "one digit an image. Set both to 1, or choose another data.composition."
            )
    elif data.min_length > data.max_length:
        raise UserError(f"data.min_length = {data.min_length} is more than data.max_length = {data.max_length}.")
    if data.train_min_length and not data.min_length <= data.train_min_length <= data.max_length:
        raise UserError(
            f"data.train_min_length = {data.train_min_length} is none of the lengths that are read, "
            f"{data.min_length} to {data.max_length}. Give one of them, or 0."
        )
    single = photographic and data.photographs == svhn_cropped.NAME
    unread = {
        "data.digits": photographic,
        "data.photographs": not photographic,
        "data.parts": not photographic,
        "data.jitter": kind != "turned",
        "data.stacked": kind != "turned",
        "data.grey": not photographic and kind != scene.NAME,
        "data.rgb": photographic or kind == scene.NAME,
        **{f"data.{name}": kind != scene.NAME for name in ("max_numbers", "min_digit", "max_digit")},
        "data.cutout": not photographic,
        "data.validation_percent": photographic,
        **{f"data.{name}": name not in _augmented_by(kind) for name in (*compose.BENT, *augment.KEYS)},
        "data.train_height": kind == "digit" or single,
        "data.train_width": kind == "digit" or single,
        "data.train_min_length": kind == "digit" or photographic or kind == scene.NAME,
        "data.train_photographs": not photographic or single or data.photographs == "own",
    }
    _refuse_unread(config, unread, f"data.composition = {kind}")
    of_readers = {f"data.{name}": config.model.name != "reader" for name in TRAINED_OTHERWISE}
    _refuse_unread(config, of_readers, f"model.name = {config.model.name}")
    if bool(data.train_height) != bool(data.train_width) or 0 < min(data.train_height, data.train_width) < digits.SIZE:
        raise UserError(
            f"data.train_height, data.train_width = {data.train_height}, {data.train_width}: give both, or neither; each at "
            f"least {digits.SIZE}."
        )
    if photographic:
        _validate_photographs(config)
    elif kind != "digit":
        if kind == scene.NAME:
            _validate_scene(config)
        else:
            _validate_room(config)
        for key in ("validation_examples", "test_examples"):
            if data[key] == 0:
                raise UserError(f"data.{key} = 0: only the training set can be endless. Give a number.")
    if data.source == "stream":
        _validate_stream(config)
    if data.source == "tfds":
        _validate_tfds(config)
    _refuse_unread(config, {"data.records_form": data.source != "stream"}, f"data.source = {data.source}")
    _refuse_unread(config, {"data.records": data.source == "plain"}, "data.source = plain")


_OF_TRAINING = (*TRAINED_OTHERWISE, "train_photographs")
"""Keys that make the training split other than the rest, which records do not hold."""


def _augmented_by(kind: str) -> tuple[str, ...]:
    """The keys that augment a composition in training."""
    if kind in views.KINDS:
        return augment.KEYS
    return () if kind == scene.NAME else compose.BENT


def _validate_stream(config: ConfigDict) -> None:
    """Refuses what records cannot hold, with data.source = stream."""
    data, per_call = config.data, config.train.steps_per_call
    bent = {f"data.{name}": True for name in (*compose.BENT, *augment.KEYS, *_OF_TRAINING)}
    unread = {"data.records_form": data.composition in views.KINDS, "data.rgb": True, **bent}
    _refuse_unread(config, unread, "data.source = stream")
    if data.composition == "cropped_digit":
        raise UserError(
            "data.source = stream: records hold whole photographs, not data.composition = cropped_digit. Choose photograph "
            "or crop, or --config.data.source=plain."
        )
    if data.composition in compose.COMPOSITIONS and data.composition != "digit" and data.train_examples == 0:
        raise UserError(
            "data.train_examples = 0: an endless set has no end to write. Give a number, --config.data.train_examples=165000."
        )
    channels = 3 if data.composition in views.KINDS and not data.grey else 1
    size = per_call * config.train.batch_size * data.height * data.width * channels
    if per_call > 1 and size > _CALL_BYTES:
        raise UserError(
            f"train.steps_per_call = {per_call}: with data.source = stream a call would take {size / 1e6:,.0f} MB of images, "
            f"at most {_CALL_BYTES / 1e6:,.0f} are allowed. At most {max(1, _CALL_BYTES * per_call // size)} fit."
        )


def _validate_tfds(config: ConfigDict) -> None:
    """Refuses what TFDS has no builder for, with data.source = tfds."""
    key, known = ("photographs", svhn_cropped.NAME) if config.data.composition in views.KINDS else ("digits", "mnist")
    if config.data[key] != known:
        raise UserError(
            f"data.{key} = {config.data[key]}: data.source = tfds reads what TFDS has itself, mnist and svhn_cropped. Set "
            f"data.{key} to {known}, or --config.data.source=plain."
        )


def _validate_photographs(config: ConfigDict) -> None:
    data = config.data
    if data.photographs == svhn_cropped.NAME:
        if data.composition != "cropped_digit":
            raise UserError(
                f"data.composition = {data.composition}: data.photographs = svhn_cropped has single digits. Set it to "
                "cropped_digit and data.min_length and data.max_length to 1, or take data.photographs = svhn."
            )
        _validate_parts(config)
    elif data.photographs != "own":
        _validate_house_numbers(config)
    elif not data.folder:
        raise UserError(
            "data.folder = '': data.photographs = own needs the folder of your photographs, --config.data.folder=DIR with "
            "a file DIR/labels.csv."
        )
    else:
        _refuse_unread(config, {"data.parts": True}, "data.photographs = own")
    if data.cutout and data.train_height:
        raise UserError(
            f"data.cutout = {data.cutout}: with data.train_height = {data.train_height} it is not clear what is cut out of. "
            "Take one of them out."
        )
    if data.cutout > min(data.height, data.width):
        raise UserError(
            f"data.cutout = {data.cutout} is more than the image of {data.height}x{data.width} that it is cut out of."
        )


def _validate_house_numbers(config: ConfigDict) -> None:
    data = config.data
    longest = len(svhn.PHOTOGRAPHS[data.photographs].lengths["train"])
    if data.composition != "cropped_digit" and data.min_length != 1:
        raise UserError(f"data.min_length = {data.min_length}: house numbers have 1 to {longest} digits. Set it to 1.")
    if data.max_length > longest:
        raise UserError(f"data.max_length = {data.max_length}: house numbers have at most {longest} digits.")
    _validate_parts(config)
    parts = tuple(data.parts)
    if not any(sum(svhn.PHOTOGRAPHS[data.photographs].lengths[part]) for part in parts):
        raise UserError(f"data.parts = {parts}: data.photographs = {data.photographs} has none of extra. Name train.")


def _validate_parts(config: ConfigDict) -> None:
    parts = tuple(config.data.parts)
    if not set(parts) or not set(parts) <= {"train", "extra"} or len(set(parts)) < len(parts):
        raise UserError(f"data.parts = {parts}: allowed are train, extra, or both.")


def _validate_room(config: ConfigDict) -> None:
    """Refuses an image that the digits do not fit into."""
    data = config.data
    side = {"centred": compose.Centred.side, "turned": compose.FRAME + 1}.get(data.composition, digits.SIZE)
    run, rise = ("height", "width") if data.stacked else ("width", "height")
    for which in ("", "train_") if data.train_height else ("",):
        fit = data[which + run] // side
        if data.max_length > fit:
            raise UserError(
                f"data.max_length = {data.max_length} digits of {side} pixels do not fit into data.{which + run} = "
                f"{data[which + run]}. At most {fit} do."
            )
        if data[which + rise] < side:
            raise UserError(
                f"data.{which + rise} = {data[which + rise]}: digits of data.composition = {data.composition} need {side} "
                "pixels."
            )


def _validate_scene(config: ConfigDict) -> None:
    """Refuses scenes that cannot be made."""
    data = config.data
    if data.source != "plain":
        raise UserError(
            f"data.source = {data.source}: scenes are computed on the device, nothing of them is on disk. Set it to plain."
        )
    for which in ("", "train_") if data.train_height else ("",):
        height, width = data[f"{which}height"], data[f"{which}width"]
        if not (32 <= height <= 1024 and 32 <= width <= 1024):
            raise UserError(
                f"data.{which}height, data.{which}width = {height}, {width}: data.composition = scene needs 32 to 1024 pixels "
                "each."
            )
    if data.min_digit > data.max_digit:
        raise UserError(f"data.min_digit = {data.min_digit} is more than data.max_digit = {data.max_digit}.")
    if data.min_digit > data.height * 3 // 4:
        raise UserError(
            f"data.min_digit = {data.min_digit}: digits would not fit into data.height = {data.height} when they are "
            f"turned. At most {data.height * 3 // 4} do."
        )
    if data.min_length > layout.LONGEST:
        raise UserError(
            f"data.min_length = {data.min_length}: a number of data.composition = scene has at most {layout.LONGEST} digits, "
            "and some scenes have one number. Make it smaller."
        )


def _validate_model(config: ConfigDict) -> None:
    model = config.model
    encoder = layers.parse(model.encoder, "model.encoder")
    layers.parse(model.head, "model.head", flat=True)
    layers.parse(model.box_head, "model.box_head", flat=True)
    height, width = image_size(config.data)
    reader, unrolled = model.name == "reader", model.name in ("gru", "attention", "row_gru")
    if reader:  # it continues the image to a multiple of the largest stride
        height, width = (n + -n % layers.largest_stride(encoder) for n in (height, width))
    layers.output_size(encoder, height, width, "model.encoder")
    if unrolled and model.gru_units < 1:
        raise UserError(
            f"model.gru_units = {model.gru_units}: model.name = {model.name} needs at least 1, for example 576."
        )
    if model.name == "row_gru" and model.gru_units % config.data.max_length:
        raise UserError(
            f"model.gru_units = {model.gru_units} is cut into data.max_length = {config.data.max_length} equal parts with "
            "model.name = row_gru. Make it a multiple."
        )
    flat = [layer.kind for layer in encoder if layer.kind in layers.FLAT]
    if (reader or model.name in ("attention", "row_gru")) and flat:
        raise UserError(
            f"model.encoder has a {flat[0]} layer, which leaves no grid for model.name = {model.name}. Remove it."
        )
    if model.pixels == "per_pixel" and config.data.train_height:
        raise UserError(
            f"model.pixels = per_pixel: with data.train_height = {config.data.train_height} the images that are read have other "
            "pixels than those of training. Set it to unit or image_mean."
        )
    if reader and any(layer.padding == "VALID" for layer in encoder):
        raise UserError(
            "model.encoder has a layer without padding ('valid'), and the cells of a reader must fill the image. Take the "
            "word out."
        )
    if reader and config.loss.target != "cell" and not config.loss.target_radius:
        raise UserError(f"loss.target_radius = 0: loss.target = {config.loss.target} needs one, for example 0.2.")
    if reader and config.data.stacked:
        raise UserError("data.stacked = True: model.name = reader reads from left to right. Choose another model.name.")
    unread = {
        "model.gru_units": not unrolled,
        "model.shared_head": not unrolled,
        "model.head": reader,
        "model.localize": reader,
        "model.box_head": reader or not model.localize,
        "loss.digits": reader,
        "loss.box": not model.localize,
        "loss.cells": not reader,
        "loss.cell_boxes": not reader,
        "loss.background": not reader,
        "loss.target": not reader,
        "loss.target_radius": not reader or config.loss.target == "cell",
        "loss.smoothing": not reader,
        "read.min_score": not reader,
        "read.max_overlap": not reader,
        "read.max_numbers": not reader,
        "read.group": not reader,
        "read.halvings": not reader,
        "loss.digit_loss": reader,
        "loss.positions": reader,
        "loss.no_digit": reader,
    }
    _refuse_unread(config, unread, f"model.name = {model.name} and model.localize = {model.localize}")
    fixed = config.data.min_length == config.data.max_length
    _refuse_unread(config, {"loss.no_digit": fixed}, f"data.min_length = data.max_length = {config.data.max_length}")
    learns = ("loss.cells", "loss.cell_boxes") if reader else ("loss.digits",)
    only_box = config.loss.box and config.init.path  # digits were learned before
    for key in learns:
        if not _get(config, key) and not only_box:
            raise UserError(f"{key} = 0: model.name = {model.name} would not learn to read. Set it to 1, for example.")


def _validate_training(config: ConfigDict) -> None:
    train = config.train
    _validate_optimizer(config)
    for key in ("init.params", "loss.l2_params", "optim.freeze"):
        params.check_syntax(_get(config, key), key)
    _refuse_unread(config, {"init.params": not config.init.path}, "init.path = ''")
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


def _validate_optimizer(config: ConfigDict) -> None:
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
    if optim.schedule == "plan":
        first = parse_plan(optim.plan)[0][0]
        if first < optim.warmup_steps:
            raise UserError(f"optim.plan = {optim.plan!r} begins within optim.warmup_steps = {optim.warmup_steps}.")
    unread = {
        "optim.decay_steps": optim.schedule in ("constant", "plan"),
        "optim.decay_rate": not by_rate,
        "optim.plan": optim.schedule != "plan",
    }
    _refuse_unread(config, unread, f"optim.schedule = {optim.schedule}")
    unread = {"optim.momentum": optim.name != "sgd", "optim.weight_decay": optim.name not in DECAYED}
    _refuse_unread(config, unread, f"optim.name = {optim.name}")
    if optim.moving_average == 1:
        raise UserError("optim.moving_average = 1 would never move. Allowed are 0 (off) to below 1, for example 0.999.")


def _refuse_unread(config: ConfigDict, unread: dict[str, bool], beside: str) -> None:
    """Refuses a key that is not at its default though nothing reads it."""
    default = base_config()
    for key, is_unread in unread.items():
        if is_unread and _get(config, key) != _get(default, key):
            raise UserError(
                f"{key} = {_get(config, key)!r} means nothing with {beside}. Take it out, or change the other."
            )


def _get(config: ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def _one_of(config: ConfigDict, key: str, allowed: Iterable[str]) -> None:
    if _get(config, key) not in allowed:
        raise UserError(f"{key} = {_get(config, key)!r} is not known. Allowed are {', '.join(allowed)}.")
