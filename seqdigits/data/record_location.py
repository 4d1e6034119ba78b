"""Where the records of a config lie, and their names."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.data.photos import labels
from seqdigits.data.synthetic import compositions

FORMS = ("png", "raw", "float64")
"""How a record holds the pixels: compressed without loss, as bytes, or as 64-bit floats of 0..1."""

VERSION = "1.0.0"
"""Of what is written. Another pixel in any example, or another feature, is another version."""


_NAMES_ON_DISK = {"rotated": "turned", "centered": "centred"}
"""What records call a composition: as when the first of them were written, so that these are still found."""


def root(folder: str) -> Path:
    """`folder`, or where it is empty $TFDS_DATA_DIR, or ~/tensorflow_datasets: TFDS's own default."""
    return Path(folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def sequences_name(data: ConfigDict) -> str:
    """The name of a set that is made of digits: everything that its examples depend on, and the form.

    `data`: the section of a config. What is at its default, or means nothing for the composition, is left out.
    """
    parts = [data.digits, _NAMES_ON_DISK.get(data.composition, data.composition)]
    if data.composition != "digit":
        lengths = f"{data.min_length}to{data.max_length}" if data.min_length < data.max_length else f"{data.max_length}"
        counts = (data.train_examples, data.validation_examples, data.test_examples)
        parts += [f"{data.height}x{data.width}", lengths]
        parts += [f"jitter{data.jitter}"] if data.jitter else []
        parts += ["stacked"] if data.stacked else []
        parts += ["_".join(map(str, counts))] if counts != (165_000, 15_000, 30_000) else []
        parts += [f"seed{data.seed}"] if data.seed else []
    parts += [f"{data.validation_percent}percent"] if data.validation_percent else []
    return "-".join(parts) + form_suffix(data.records_form)


def photographs_name(kind: str, photographs: str, with_extra: bool) -> str:
    """The name of a set of house numbers.

    >>> photographs_name("whole", "svhn", True), photographs_name("cropped", "svhn_2000", False)
    ('whole', 'cropped-2000')
    """
    return kind + ("-2000" if photographs == "svhn_2000" else "" if with_extra else "-without_extra")


def _own_name(folder: Path) -> str:
    """The folder's name, and a hash of its labels and of the names, sizes and times of change of its pictures: others are
    another set."""
    rows = labels.rows(folder)  # first of all, for it says what is wrong with the folder
    digest = hashlib.sha256((folder / labels.NAME).read_bytes())
    for row in rows:
        try:
            stat = row.image.stat()
        except OSError as e:
            raise UserError(
                f"{row.image} cannot be read: {e.strerror}. Check the folder: python -m seqdigits check-photos"
            ) from e
        digest.update(f"{row.image.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return f"{re.sub('[^A-Za-z0-9]+', '_', folder.resolve().name)}-{digest.hexdigest()[:12]}"


def form_suffix(form: str) -> str:
    """What the name of a set says of its form.

    >>> form_suffix("png"), form_suffix("raw")
    ('', '-raw')
    """
    return "" if form == "png" else f"-{form}"


def location(config: ConfigDict) -> tuple[str, str]:
    """Name of the TFDS data set that holds the examples of a config, and name of its configuration."""
    data = config.data
    if data.composition in compositions.COMPOSITIONS:
        return "digit_sequences", sequences_name(data)
    if data.photographs == "folder":
        return "own_numbers", _own_name(Path(data.folder).expanduser())
    with_extra = "extra" in data.parts and data.photographs == "svhn"
    return "svhn_numbers", photographs_name("whole", data.photographs, with_extra)


def path(config: ConfigDict) -> Path:
    """The folder with the records of a config."""
    return root(config.data.records).joinpath(*location(config), VERSION)
