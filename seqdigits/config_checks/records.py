"""Checks of the section `data`: records on disk."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config_checks.checks import refuse_unread
from seqdigits.core.errors import UserError
from seqdigits.data import record_location
from seqdigits.data.evaluated_config import TRAIN_ONLY_KEYS
from seqdigits.data.photos import augment, svhn_cropped
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.synthetic import compositions

_CALL_BYTES = 256_000_000
"""Largest size of the streamed images of one compiled call, in bytes."""
_TRAINING_ONLY_KEYS = (*TRAIN_ONLY_KEYS, "train_photographs")
"""Keys that change the training split only, which records do not support."""


def validate_stream(config: ConfigDict) -> None:
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


def validate_tfds(config: ConfigDict) -> None:
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
