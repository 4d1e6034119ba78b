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
