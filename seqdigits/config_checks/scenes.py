"""Checks of the section `data`: synthetic scenes."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.data import scenes
from seqdigits.data.image_size import size_of
from seqdigits.data.scenes import layout, misread


def validate_scenes(config: ConfigDict) -> None:
    """Refuses scenes that cannot be generated, alone (data.composition) or among photographs (data.half_scenes)."""
    data = config.data
    is_alone = data.composition == scenes.NAME
    reason = "data.composition = scene" if is_alone else "data.half_scenes = True"
    if data.source != "device":
        raise UserError(
            f"data.source = {data.source}: scenes are computed on the device and are never on disk. Set it to device."
        )
    prefixes = ["train_"] if data.train_height else []
    if is_alone or not prefixes:
        prefixes.append("")
    for prefix in prefixes:
        height, width = data[f"{prefix}height"], data[f"{prefix}width"]
        if not (32 <= height <= 1024 and 32 <= width <= 1024):
            raise UserError(
                f"data.{prefix}height, data.{prefix}width = {height}, {width}: {reason} needs 32 to 1024 pixels each."
            )
        if data.min_digit > height * 3 // 4:
            raise UserError(
                f"data.min_digit = {data.min_digit}: rotated digits would not fit into data.{prefix}height = {height}. "
                f"At most {height * 3 // 4} do."
            )
    if data.min_digit > data.max_digit:
        raise UserError(
            f"data.min_digit = {data.min_digit} is more than data.max_digit = {data.max_digit}. Set it to at most that."
        )
    if data.min_length > layout.LONGEST:
        raise UserError(
            f"data.min_length = {data.min_length}: with {reason} a number has at most {layout.LONGEST} digits, and some scenes "
            "have one number. Set it to at most that."
        )
    height, width = size_of(data, "train")
    if data.misread and (height > misread.HEIGHT or width > misread.WIDTH):
        raise UserError(
            f"data.misread = {data.misread!r}: its parts have {misread.HEIGHT}x{misread.WIDTH} pixels, and training images "
            f"{height}x{width}. Set data.train_height and data.train_width to smaller ones, or data.misread to ''."
        )
