"""Selects the TFDS builder of a config."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.data import record_location
from seqdigits.data.builders import digit_sequences, own_numbers, svhn_numbers
from seqdigits.data.builders.base import RecordsBuilder


def builder(config: ConfigDict) -> RecordsBuilder:
    """Returns the TFDS builder of the records that a config streams."""
    name, _ = record_location.location(config)
    return {"digit_sequences": digit_sequences, "svhn_numbers": svhn_numbers, "own_numbers": own_numbers}[name].builder(
        config
    )
