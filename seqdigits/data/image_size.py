"""Image sizes of each split, from the section `data` of a config."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.data import digits
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS


def size_of(data: ConfigDict, split: str) -> tuple[int, int]:
    """Returns height and width, in pixels, of the canvas, or of the resized photograph, in one split."""
    if split == "train" and data.train_height:
        return data.train_height, data.train_width
    return data.height, data.width


def image_size(data: ConfigDict) -> tuple[int, int]:
    """Returns height and width of the model's input images, in pixels, from the config's section `data`."""
    if data.composition == "digit":
        return digits.SIZE, digits.SIZE
    if data.composition in PHOTO_COMPOSITIONS and data.cutout:
        return data.cutout, data.cutout
    return data.height, data.width


TRAIN_ONLY_KEYS = ("train_height", "train_width", "train_min_length", "half_scenes", "mask_unlabeled", "misread")
"""Keys that make training images differ from evaluated images in size, in number of digits, or in what they show."""
MIXED_KEYS = ("pasted", "backgrounds", "misread", "max_numbers", "min_digit", "max_digit")
"""Keys that shape what is mixed into the training on photographs: natural backgrounds, and scenes (`half_scenes`)."""


def as_evaluated(config: ConfigDict) -> ConfigDict:
    """Returns a copy of the config whose training images have the size, lengths and contents of the evaluated ones.

    For evaluating on the training split, not for training.
    """
    result = config.copy_and_resolve_references()
    result.data.update({key: type(result.data[key])() for key in TRAIN_ONLY_KEYS})  # 0, False or ""
    return result


def trains_as_evaluated(data: ConfigDict) -> bool:
    """Returns whether training images have the size, the lengths and the contents of the evaluated images."""
    return not any(data[key] for key in TRAIN_ONLY_KEYS)
