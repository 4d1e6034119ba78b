"""Names and folders of the records of a config."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.core.files import data_folder, expanded
from seqdigits.data.photos import labels
from seqdigits.data.synthetic import compositions

FORMS = ("png", "raw", "float64")
"""The encodings of a record's pixels: lossless PNG, raw bytes, or 64-bit floats in 0..1."""

VERSION = "1.0.0"
"""The version of the records. It changes when a pixel of any example or a feature changes."""


_NAMES_ON_DISK = {"rotated": "turned", "centered": "centred"}
"""Older names of compositions, kept in names of records so that existing records are still found."""


SCHEMES = ("gs", "s3")
"""The schemes of URLs of buckets: Google Cloud Storage and Amazon S3, or a service with the interface of S3."""


def root(folder: str) -> Path:
    """Returns the folder of TFDS data sets.

    This is `folder`, or if empty $TFDS_DATA_DIR, or if unset ~/tensorflow_datasets, the default of TFDS.

    Raises:
      UserError: it is in a bucket.
    """
    place = _root(folder)
    if "://" in place:
        raise UserError(
            f"data.records = {place}: a bucket can only be read, and only with data.source = tfrecord. Set --config.data."
            "records=DIR to a local folder."
        )
    return expanded(place)


def _root(folder: str) -> str:
    return folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"


def bucket_parts(folder: str) -> tuple[str, ...]:
    """Returns scheme, bucket and folders of a root in a bucket; an empty tuple if the root is a local folder.

    >>> bucket_parts("gs://datasets/digits/"), bucket_parts("/datasets")
    (('gs', 'datasets', 'digits'), ())

    Raises:
      UserError: it is not a URL of a bucket.
    """
    scheme, separator, rest = _root(folder).partition("://")
    if not separator:
        return ()
    parts = rest.rstrip("/").split("/")
    if scheme not in SCHEMES or {"", ".", ".."} & set(parts):
        raise UserError(
            f"data.records = {_root(folder)}: allowed are a local folder, gs://BUCKET/FOLDER and s3://BUCKET/FOLDER."
        )
    return (scheme, *parts)


def sequences_name(data: ConfigDict) -> str:
    """Returns the name of a set of composed digits: everything that its examples depend on, and the form.

    Args:
      data: the section `data` of a config. Values that are at their default, or that the composition does not use, are
        left out of the name.
    """
    parts = [data.digits, _NAMES_ON_DISK.get(data.composition, data.composition)]
    if data.composition != "digit":
        lengths = f"{data.min_length}to{data.max_length}" if data.min_length < data.max_length else f"{data.max_length}"
        counts = (data.train_examples, data.validation_examples, data.test_examples)
        parts += [f"{data.height}x{data.width}", lengths]
        parts += [f"jitter{data.jitter}"] if data.jitter else []
        parts += ["stacked"] if data.stacked else []
        parts += [f"rotation{data.max_rotation}"] if data.max_rotation != 45 else []
        parts += ["passes"] if data.digit_order == "passes" else []
        parts += ["_".join(map(str, counts))] if counts != (165_000, 15_000, 30_000) else []
        parts += [f"seed{data.seed}"] if data.seed else []
    parts += [f"{data.validation_percent}percent"] if data.validation_percent else []
    parts += [f"{data.distinct_digits}distinct"] if data.distinct_digits else []
    parts += ["shared"] if data.share_digits else []
    parts += [f"{data.validation_place}_held_out"] if data.validation_place != "default" else []
    return "-".join(parts) + form_suffix(data.records_form)


def photographs_name(kind: str, photographs: str, with_extra: bool) -> str:
    """Returns the name of a set of house numbers.

    >>> photographs_name("whole", "svhn", True), photographs_name("cropped", "svhn_2000", False)
    ('whole', 'cropped-2000')
    """
    return kind + ("-2000" if photographs == "svhn_2000" else "" if with_extra else "-without_extra")


def custom_photos_name(folder: Path) -> str:
    """Returns the name of a set of custom photos: the folder's name and a hash of its contents.

    The hash covers the labels and the names, sizes and modification times of the image files.

    Raises:
      UserError: the labels or an image file cannot be read.
    """
    rows = labels.rows(folder)  # first, because its messages explain what is wrong with the folder
    digest = hashlib.sha256((folder / labels.NAME).read_bytes())
    for row in rows:
        try:
            stat = row.image.stat()
        except OSError as e:
            raise UserError(
                f"{row.image} cannot be read: {e.strerror}. Check the folder: seqdigits check-photos"
            ) from e
        digest.update(f"{row.image.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return f"{re.sub('[^A-Za-z0-9]+', '_', folder.resolve().name)}-{digest.hexdigest()[:12]}"


def form_suffix(form: str) -> str:
    """Returns the suffix of a set's name for a form.

    >>> form_suffix("png"), form_suffix("raw")
    ('', '-raw')
    """
    return "" if form == "png" else f"-{form}"


def location(config: ConfigDict) -> tuple[str, str]:
    """Returns the names of the TFDS data set and of its configuration that hold the examples of a config."""
    data = config.data
    if data.composition in compositions.COMPOSITIONS:
        return "digit_sequences", sequences_name(data)
    if data.photographs == "folder":
        return "own_numbers", custom_photos_name(expanded(data.folder))
    with_extra = "extra" in data.parts and data.photographs == "svhn"
    return "svhn_numbers", photographs_name("whole", data.photographs, with_extra)


def path(config: ConfigDict) -> Path:
    """Returns the local folder of the records of a config; of their copy, if they are in a bucket."""
    names = (*location(config), VERSION)
    parts = bucket_parts(config.data.records)
    return data_folder("").joinpath("records", *parts, *names) if parts else root(config.data.records).joinpath(*names)


def url(config: ConfigDict) -> str:
    """Returns the URL of the records of a config in a bucket; "" if they are in a local folder."""
    parts = bucket_parts(config.data.records)
    return f"{parts[0]}://" + "/".join((*parts[1:], *location(config), VERSION)) if parts else ""
