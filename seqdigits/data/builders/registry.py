"""Selects the TFDS builder of a config."""

from __future__ import annotations

from google.protobuf import json_format
from ml_collections import ConfigDict

from seqdigits.core.errors import UserError, short
from seqdigits.data import record_location
from seqdigits.data.bucket import copy_command
from seqdigits.data.builders import digit_sequences, own_numbers, svhn_numbers
from seqdigits.data.builders.base import RecordsBuilder
from seqdigits.data.manifest import rewrite_hint


def builder(config: ConfigDict) -> RecordsBuilder:
    """Returns the TFDS builder of the records that a config streams.

    Raises:
      UserError: the records are in a bucket; or they exist, and their `dataset_info.json`, which TFDS then reads, is
        damaged.
    """
    if url := record_location.url(config):
        written = "/".join(("DIR", *record_location.location(config), record_location.VERSION))
        raise UserError(
            f"{url} is in a bucket, but records are written to a local folder. Set --config.data.records=DIR, and then copy "
            f"them: {copy_command(written, url)}"
        )
    name, _ = record_location.location(config)
    modules = {"digit_sequences": digit_sequences, "svhn_numbers": svhn_numbers, "own_numbers": own_numbers}
    try:
        return modules[name].builder(config)
    except (json_format.ParseError, UnicodeDecodeError) as e:
        folder = record_location.path(config)
        raise UserError(
            f"{folder / 'dataset_info.json'} is damaged: {short(e).rstrip('.')}. {rewrite_hint(folder)}"
        ) from e
