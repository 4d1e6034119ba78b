"""Checks of the section `data`."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config.upgrade import ignored_sizes
from seqdigits.config_checks.checks import refuse_unread
from seqdigits.config_checks.photographs import validate_photographs
from seqdigits.config_checks.records import validate_stream, validate_tfds
from seqdigits.config_checks.scenes import validate_scenes
from seqdigits.core.errors import UserError
from seqdigits.data import digits, scenes
from seqdigits.data.evaluated_config import TRAIN_ONLY_KEYS
from seqdigits.data.photos import augment, svhn, svhn_cropped
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.synthetic import compositions


def validate_data(config: ConfigDict) -> None:
    """Refuses values of `data` that contradict one another, the model, or the length of a call.

    Raises:
      UserError: naming the key, its value, what is allowed, and the fix.
    """
    data, kind = config.data, config.data.composition
    _validate_lengths(config)
    _validate_data_keys(config)
    _validate_digits(config)
    if bool(data.train_height) != bool(data.train_width) or 0 < min(data.train_height, data.train_width) < digits.SIZE:
        raise UserError(
            f"data.train_height, data.train_width = {data.train_height}, {data.train_width}: set both or neither; each at "
            f"least {digits.SIZE}."
        )
    if kind in PHOTO_COMPOSITIONS:
        validate_photographs(config)
    elif kind != "digit":
        if kind == scenes.NAME:
            validate_scenes(config)
        else:
            _validate_capacity(config)
        for key in ("validation_examples", "test_examples"):
            if data[key] == 0:
                raise UserError(f"data.{key} = 0: only the training set can be endless. Set it to 1 or more.")
    if data.source == "tfrecord":
        validate_stream(config)
    if data.source == "tfds":
        validate_tfds(config)
    refuse_unread(config, {"data.records_form": data.source != "tfrecord"}, f"data.source = {data.source}")
    refuse_unread(config, {"data.records": data.source == "device"}, "data.source = device")


def _augmented_by(kind: str) -> tuple[str, ...]:
    """Returns the augmentation keys of a composition."""
    if kind in PHOTO_COMPOSITIONS:
        return augment.KEYS
    return () if kind == scenes.NAME else compositions.AUGMENTATION_KEYS


def _validate_capacity(config: ConfigDict) -> None:
    """Refuses an image that is too small for its digits."""
    data = config.data
    side = {"centered": compositions.Centered.side, "rotated": compositions.FRAME + 1}.get(
        data.composition, digits.SIZE
    )
    along, across = ("height", "width") if data.stacked else ("width", "height")
    for prefix in ("", "train_") if data.train_height else ("",):
        fit = data[prefix + along] // side
        if data.max_length > fit:
            raise UserError(
                f"data.max_length = {data.max_length} digits of {side} pixels do not fit into data.{prefix + along} = "
                f"{data[prefix + along]}. At most {fit} do."
            )
        if data[prefix + across] < side:
            raise UserError(
                f"data.{prefix + across} = {data[prefix + across]}: data.composition = {data.composition} needs at least {side} "
                "pixels."
            )


def _validate_lengths(config: ConfigDict) -> None:
    """Refuses lengths that contradict one another or the composition."""
    data, kind = config.data, config.data.composition
    if kind in ("digit", "cropped_digit"):
        if (data.min_length, data.max_length) != (1, 1):
            raise UserError(
                f"data.min_length, data.max_length = {data.min_length}, {data.max_length}: data.composition = {kind} has "
                "one digit per image. Set both to 1, or choose another data.composition."
            )
    elif data.min_length > data.max_length:
        raise UserError(
            f"data.min_length = {data.min_length} is more than data.max_length = {data.max_length}. Set it to at most that."
        )
    if data.train_min_length and not data.min_length <= data.train_min_length <= data.max_length:
        raise UserError(
            f"data.train_min_length = {data.train_min_length} is out of range: data.min_length to data.max_length, "
            f"{data.min_length} to {data.max_length}, or 0."
        )


def _validate_digits(config: ConfigDict) -> None:
    """Refuses numbers and orders of digits that cannot be drawn equally often."""
    data = config.data
    if data.distinct_digits % 10:
        raise UserError(
            f"data.distinct_digits = {data.distinct_digits}: it has equally many of each class. Set it to a multiple of 10."
        )
    if data.digit_order == "passes" and data.min_length != data.max_length:
        raise UserError(
            f"data.digit_order = passes: with data.min_length, data.max_length = {data.min_length}, {data.max_length} digits would "
            "not be used equally often. Set both lengths to the same, or data.digit_order to independent."
        )


def _validate_data_keys(config: ConfigDict) -> None:
    """Refuses keys of `data` that have no effect for the composition or the model."""
    data, kind = config.data, config.data.composition
    photographic = kind in PHOTO_COMPOSITIONS
    single = photographic and data.photographs == svhn_cropped.NAME
    unread = {
        "data.digits": photographic and not data.half_scenes,
        "data.photographs": not photographic,
        "data.parts": not photographic,
        "data.jitter": kind != "rotated",
        "data.stacked": kind != "rotated",
        "data.scattered": kind != "canvas",
        "data.gray": not photographic and kind != scenes.NAME,
        "data.rgb": photographic or kind == scenes.NAME,
        **{
            f"data.{name}": kind != scenes.NAME and not data.half_scenes
            for name in ("max_numbers", "min_digit", "max_digit", "scene_version")
        },
        "data.backgrounds": not data.pasted and kind != scenes.NAME and not data.half_scenes,
        "data.misread": kind != scenes.NAME and not data.half_scenes,
        "data.half_scenes": not photographic or single,
        "data.mask_unlabeled": kind not in ("photograph", "crop"),
        "data.cutout": not photographic,
        "data.validation_percent": photographic,
        "data.validation_place": photographic,
        "data.distinct_digits": photographic or kind == scenes.NAME,
        **{f"data.{name}": photographic or kind in (scenes.NAME, "digit") for name in ("share_digits", "digit_order")},
        "data.max_rotation": kind != "rotated",
        **{
            f"data.{name}": name not in _augmented_by(kind) for name in (*compositions.AUGMENTATION_KEYS, *augment.KEYS)
        },
        **{f"data.{name}": True for name in ignored_sizes(data)},
        "data.train_height": kind == "digit" or single,
        "data.train_width": kind == "digit" or single,
        "data.train_min_length": kind == "digit" or photographic or kind == scenes.NAME,
        "data.train_photographs": not photographic or single or kind == "cropped_digit",
        "data.seed": kind == "digit" or (photographic and not (data.half_scenes and data.train_examples)),
    }
    refuse_unread(config, unread, f"data.composition = {kind}")
    of_house_numbers = data.photographs in svhn.PHOTOGRAPHS
    unread = {"data.pasted": single, "data.mask_unlabeled": not of_house_numbers}
    refuse_unread(config, unread, f"data.photographs = {data.photographs}")
    detector_only = {
        f"data.{name}": config.model.name != "dense_detector" for name in TRAIN_ONLY_KEYS if name != "misread"
    }
    refuse_unread(config, detector_only, f"model.name = {config.model.name}")
