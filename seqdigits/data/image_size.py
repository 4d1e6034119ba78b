"""Sizes of images in each split, from the section `data` of a config."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.data import digits
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS


def size_of(data: ConfigDict, split: str) -> tuple[int, int]:
    """Height and width of what digits are put on, or photographs squeezed to, in one split."""
    if split == "train" and data.train_height:
        return data.train_height, data.train_width
    return data.height, data.width


def image_size(data: ConfigDict) -> tuple[int, int]:
    """Height and width of the images, in pixels, from the config's section `data`."""
    if data.composition == "digit":
        return digits.SIZE, digits.SIZE
    if data.composition in PHOTO_COMPOSITIONS and data.cutout:
        return data.cutout, data.cutout
    return data.height, data.width


TRAIN_ONLY_KEYS = ("train_height", "train_width", "train_min_length")
"""Keys with which a reader trains on other images than it reads."""


def as_evaluated(config: ConfigDict) -> ConfigDict:
    """The config whose training split is made like what is read, to be looked at and not to be trained on."""
    same = config.copy_and_resolve_references()
    same.data.update(dict.fromkeys(TRAIN_ONLY_KEYS, 0))
    return same


def trains_as_evaluated(data: ConfigDict) -> bool:
    """Whether what is trained on has the size and the lengths of what is read."""
    return not any(data[key] for key in TRAIN_ONLY_KEYS)
