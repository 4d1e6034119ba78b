"""Checks of the section `data`."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config_checks.checks import refuse_unread
from seqdigits.core.errors import UserError
from seqdigits.data import digits, record_location, scenes
from seqdigits.data.image_size import TRAIN_ONLY_KEYS, size_of
from seqdigits.data.photos import augment, svhn, svhn_cropped
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.scenes import layout, misread
from seqdigits.data.synthetic import compositions

_CALL_BYTES = 256_000_000
"""Largest size of the streamed images of one compiled call, in bytes."""


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
        _validate_photographs(config)
    elif kind != "digit":
        if kind == scenes.NAME:
            _validate_scene(config)
        else:
            _validate_capacity(config)
        for key in ("validation_examples", "test_examples"):
            if data[key] == 0:
                raise UserError(f"data.{key} = 0: only the training set can be endless. Set it to 1 or more.")
    if data.source == "tfrecord":
        _validate_stream(config)
    if data.source == "tfds":
        _validate_tfds(config)
    refuse_unread(config, {"data.records_form": data.source != "tfrecord"}, f"data.source = {data.source}")
    refuse_unread(config, {"data.records": data.source == "device"}, "data.source = device")


_TRAINING_ONLY_KEYS = (*TRAIN_ONLY_KEYS, "train_photographs")
"""Keys that change the training split only, which records do not support."""


def _augmented_by(kind: str) -> tuple[str, ...]:
    """Returns the augmentation keys of a composition."""
    if kind in PHOTO_COMPOSITIONS:
        return augment.KEYS
    return () if kind == scenes.NAME else compositions.AUGMENTATION_KEYS


def _validate_stream(config: ConfigDict) -> None:
    """Refuses what records do not support, with data.source = tfrecord."""
    data, per_call = config.data, config.train.steps_per_call
    augmentations = {
        f"data.{name}": True for name in (*compositions.AUGMENTATION_KEYS, *augment.KEYS, *_TRAINING_ONLY_KEYS)
    }
    unread = {
        "data.records_form": data.composition in PHOTO_COMPOSITIONS,
        "data.rgb": True,
        "data.scattered": True,
        **augmentations,
    }
    refuse_unread(config, unread, "data.source = tfrecord")
    record_location.bucket_parts(data.records)  # refuses URLs that are not of a bucket
    if data.composition == "cropped_digit":
        raise UserError(
            "data.composition = cropped_digit: with data.source = tfrecord, whose records are complete photographs, allowed are "
            "photograph and crop. Set one of them, or --config.data.source=device."
        )
    if data.composition in compositions.COMPOSITIONS and data.composition != "digit" and data.train_examples == 0:
        raise UserError(
            "data.train_examples = 0: an endless set cannot be written to records. Set a number, such as "
            "--config.data.train_examples=165000."
        )
    channels = 3 if data.composition in PHOTO_COMPOSITIONS and not data.gray else 1
    size = per_call * config.train.batch_size * data.height * data.width * channels
    if per_call > 1 and size > _CALL_BYTES:
        raise UserError(
            f"train.steps_per_call = {per_call}: with data.source = tfrecord a call would need {size / 1e6:,.0f} MB of images; "
            f"at most {_CALL_BYTES / 1e6:,.0f} MB are allowed. Set it to at most {max(1, _CALL_BYTES * per_call // size)}."
        )


def _validate_tfds(config: ConfigDict) -> None:
    """Refuses data sets that TFDS has no builder for, with data.source = tfds."""
    key, known = (
        ("photographs", svhn_cropped.NAME) if config.data.composition in PHOTO_COMPOSITIONS else ("digits", "mnist")
    )
    if config.data[key] != known:
        raise UserError(
            f"data.{key} = {config.data[key]}: data.source = tfds supports only mnist and svhn_cropped. Set "
            f"data.{key} to {known}, or --config.data.source=device."
        )
    record_location.root(config.data.records)  # refuses a bucket


def _validate_photographs(config: ConfigDict) -> None:
    """Refuses compositions, parts and crops that the set of photographs does not support."""
    data = config.data
    _validate_mixture(config)
    if data.photographs == svhn_cropped.NAME:
        if data.composition != "cropped_digit":
            raise UserError(
                f"data.composition = {data.composition}: data.photographs = svhn_cropped has single digits. Set it to "
                "cropped_digit and data.min_length and data.max_length to 1, or set data.photographs to svhn."
            )
        _validate_parts(config)
    elif data.photographs != "folder":
        _validate_house_numbers(config)
    elif not data.folder:
        raise UserError(
            "data.folder = '': data.photographs = folder needs the folder of the custom photos. Set --config.data.folder=DIR, "
            "where DIR has a file labels.csv."
        )
    else:
        refuse_unread(config, {"data.parts": True}, "data.photographs = folder")
    if data.cutout and data.train_height:
        raise UserError(
            f"data.cutout = {data.cutout}: it cannot be combined with data.train_height = {data.train_height}. Set one of them "
            "to 0."
        )
    if data.cutout > min(data.height, data.width):
        raise UserError(
            f"data.cutout = {data.cutout} is more than the image of {data.height}x{data.width} has. At most "
            f"{min(data.height, data.width)} are allowed."
        )


def _validate_mixture(config: ConfigDict) -> None:
    """Refuses photographs that are pasted without backgrounds, or mixed with scenes in odd batches."""
    data = config.data
    if data.pasted and not data.backgrounds:
        raise UserError(
            f"data.pasted = {data.pasted}: data.backgrounds = '', but numbers are pasted into natural backgrounds. Set it to the "
            "file that seqdigits build-backgrounds makes, or set data.pasted to 0."
        )
    _validate_misread(data)
    for key in ("half_scenes", "mask_unlabeled"):
        if data[key] and data.cutout:
            raise UserError(f"data.cutout = {data.cutout}: it cannot be combined with data.{key}. Set it to 0.")
    if data.half_scenes and config.train.batch_size % 2:
        raise UserError(
            f"train.batch_size = {config.train.batch_size}: data.half_scenes needs an even number. Set one."
        )


def _validate_misread(data: ConfigDict) -> None:
    """Refuses scenes that are larger than the parts of backgrounds that a reader misread."""
    height, width = size_of(data, "train")
    if data.misread and (height > misread.HEIGHT or width > misread.WIDTH):
        raise UserError(
            f"data.misread = {data.misread!r}: its parts have {misread.HEIGHT}x{misread.WIDTH} pixels, and training images "
            f"{height}x{width}. Set data.train_height and data.train_width to smaller ones, or data.misread to ''."
        )


def _validate_house_numbers(config: ConfigDict) -> None:
    """Refuses lengths and parts that the house numbers of SVHN do not have."""
    data = config.data
    longest = len(svhn.PHOTOGRAPHS[data.photographs].lengths["train"])
    if data.composition != "cropped_digit" and data.min_length != 1:
        raise UserError(f"data.min_length = {data.min_length}: house numbers have 1 to {longest} digits. Set it to 1.")
    if data.max_length > longest:
        raise UserError(
            f"data.max_length = {data.max_length}: house numbers have at most {longest} digits. Set it to at most {longest}."
        )
    _validate_parts(config)
    parts = tuple(data.parts)
    if not any(sum(svhn.PHOTOGRAPHS[data.photographs].lengths[part]) for part in parts):
        raise UserError(f"data.parts = {parts}: data.photographs = {data.photographs} has no part extra. Add train.")


def _validate_parts(config: ConfigDict) -> None:
    """Refuses no parts, and parts that are repeated."""
    parts = tuple(config.data.parts)
    if not parts or len(set(parts)) < len(parts):
        raise UserError(f"data.parts = {parts}: allowed are train, extra, or both.")


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


def _validate_scene(config: ConfigDict) -> None:
    """Refuses scenes that cannot be generated."""
    data = config.data
    if data.source != "device":
        raise UserError(
            f"data.source = {data.source}: scenes are computed on the device and are never on disk. Set it to device."
        )
    for prefix in ("", "train_") if data.train_height else ("",):
        height, width = data[f"{prefix}height"], data[f"{prefix}width"]
        if not (32 <= height <= 1024 and 32 <= width <= 1024):
            raise UserError(
                f"data.{prefix}height, data.{prefix}width = {height}, {width}: data.composition = scene needs 32 to 1024 pixels "
                "each."
            )
    _validate_misread(data)
    if data.min_digit > data.max_digit:
        raise UserError(
            f"data.min_digit = {data.min_digit} is more than data.max_digit = {data.max_digit}. Set it to at most that."
        )
    if data.min_digit > data.height * 3 // 4:
        raise UserError(
            f"data.min_digit = {data.min_digit}: rotated digits would not fit into data.height = {data.height}. "
            f"At most {data.height * 3 // 4} do."
        )
    if data.min_length > layout.LONGEST:
        raise UserError(
            f"data.min_length = {data.min_length}: a number of data.composition = scene has at most "
            f"{layout.LONGEST} digits, and some scenes have one number. Set it to at most that."
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
        "data.mask_unlabeled": kind not in ("photograph", "crop") or data.photographs not in svhn.PHOTOGRAPHS,
        "data.cutout": not photographic,
        "data.validation_percent": photographic,
        "data.validation_place": photographic,
        "data.distinct_digits": photographic or kind == scenes.NAME,
        **{f"data.{name}": photographic or kind in (scenes.NAME, "digit") for name in ("share_digits", "digit_order")},
        "data.max_rotation": kind != "rotated",
        **{
            f"data.{name}": name not in _augmented_by(kind) for name in (*compositions.AUGMENTATION_KEYS, *augment.KEYS)
        },
        "data.train_height": kind == "digit" or single,
        "data.train_width": kind == "digit" or single,
        "data.train_min_length": kind == "digit" or photographic or kind == scenes.NAME,
        "data.train_photographs": not photographic or single,
    }
    refuse_unread(config, unread, f"data.composition = {kind}")
    detector_only = {
        f"data.{name}": config.model.name != "dense_detector" for name in TRAIN_ONLY_KEYS if name != "misread"
    }
    refuse_unread(config, detector_only, f"model.name = {config.model.name}")
