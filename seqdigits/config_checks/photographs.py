"""Checks of the section `data`: photographs."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config_checks.checks import refuse_unread
from seqdigits.config_checks.scenes import validate_scenes
from seqdigits.core.errors import UserError
from seqdigits.data.image_size import size_of
from seqdigits.data.photos import augment, svhn, svhn_cropped


def validate_photographs(config: ConfigDict) -> None:
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
    warps = [f"data.{key}" for key in augment.KEYS if key != "color" and data[key]]
    if warps and max(size_of(data, "train")) > augment.MAX_SIDE:
        height, width = size_of(data, "train")
        raise UserError(
            f"{', '.join(warps)}: training images of {height}x{width} are too large to be warped. Set these keys to 0, or height "
            f"and width to at most {augment.MAX_SIDE:,}."
        )
    if data.cutout > min(data.height, data.width):
        raise UserError(
            f"data.cutout = {data.cutout} is more than the image of {data.height}x{data.width} has. At most "
            f"{min(data.height, data.width)} are allowed."
        )


def _validate_mixture(config: ConfigDict) -> None:
    """Refuses what photographs are mixed with if it is missing, cannot be divided evenly, or is of other photographs."""
    data = config.data
    if data.pasted and not data.backgrounds:
        raise UserError(
            f"data.pasted = {data.pasted}: data.backgrounds = '', but numbers are pasted into natural backgrounds. Set it to the "
            "file that seqdigits build-backgrounds makes, or set data.pasted to 0."
        )
    if data.half_scenes:
        validate_scenes(config)
    for key in ("half_scenes", "mask_unlabeled"):
        if data[key] and data.cutout:
            raise UserError(f"data.cutout = {data.cutout}: it cannot be combined with data.{key}. Set it to 0.")
    if data.half_scenes and config.train.batch_size % 2:
        raise UserError(
            f"train.batch_size = {config.train.batch_size}: data.half_scenes needs an even number. Set one."
        )
    if data.mask_unlabeled and "train" not in data.parts:
        raise UserError(
            f"data.mask_unlabeled = True: its list is of the first photographs of SVHN train, but data.parts = "
            f"{tuple(data.parts)}. Add train, or set data.mask_unlabeled to False."
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
