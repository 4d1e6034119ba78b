"""What differs between training images and evaluated images, in the section `data` of a config."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config.defaults import DEFAULTS
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS

TRAIN_ONLY_KEYS = ("train_height", "train_width", "train_min_length", "half_scenes", "mask_unlabeled", "misread")
"""Keys that make training images differ from evaluated images in size, in number of digits, or in what they show."""
MIXED_KEYS = (
    *("pasted", "backgrounds", "misread", "max_numbers", "min_digit", "max_digit", "scene_version"),
    *("digits", "train_examples"),
)
"""Keys that shape what is mixed into the training on photographs: natural backgrounds, and scenes (`half_scenes`)."""


def as_evaluated(config: ConfigDict) -> ConfigDict:
    """Returns a copy of the config whose training images have the size, lengths and contents of the evaluated ones.

    For evaluating on the training split, not for training: nothing is pasted or mixed in either.
    """
    result = config.copy_and_resolve_references()
    mixed = MIXED_KEYS if result.data.composition in PHOTO_COMPOSITIONS else ()
    result.data.update({key: DEFAULTS[f"data.{key}"] for key in (*TRAIN_ONLY_KEYS, *mixed)})
    return result


def trains_as_evaluated(data: ConfigDict) -> bool:
    """Returns whether the source of the training images can evaluate them too.

    Then they have the size, the lengths and the contents of the evaluated images, but for the augmentation of training.
    """
    return not any(data[key] for key in TRAIN_ONLY_KEYS)
