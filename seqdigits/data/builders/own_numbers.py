"""The TFDS data set `own_numbers`: photographs of one's own, a folder as data/photos/folder.py describes it, written to records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from seqdigits.core.constants import SPLITS
from seqdigits.data import record_location
from seqdigits.data.builders import tfds, writer
from seqdigits.data.builders.base import RecordsBuilder, features, photograph, pixels
from seqdigits.data.photos import labels
from seqdigits.data.photos.folder import picture


@dataclasses.dataclass(eq=False)
class OwnConfig(tfds.core.BuilderConfig):
    """One folder.

    Attributes:
      folder: of labels.csv and the pictures.
    """

    folder: str = ""


class OwnNumbers(RecordsBuilder):
    """Pictures upright, at their own size, as PNG; in file order. Made by `builder(config)`."""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of numbers.",
            features=features(pixels("png", (None, None, 3)), self._longest),
            disable_shuffling=True,
        )

    @property
    def _longest(self) -> int:
        return max(len(row.digits) for row in labels.rows(self.builder_config.folder))

    def _sizes(self) -> dict[str, int]:
        counts = dict.fromkeys(SPLITS, 0)
        for row in labels.rows(self.builder_config.folder):
            counts[row.split] += 1
        return {split: number for split, number in counts.items() if number}

    def _records(self, folder: str) -> writer.Records:
        del folder  # the config has it
        return partial(_serialized, self.builder_config.folder, self._longest)

    def _about(self) -> dict[str, Any]:
        return {"longest": self._longest}


def builder(config: ConfigDict) -> OwnNumbers:
    """The set that a whole config reads."""
    _, name = record_location.location(config)
    made = OwnConfig(name=name, folder=config.data.folder)
    return OwnNumbers(data_dir=record_location.root(config.data.records), config=made)


def _serialized(folder: str, longest: int, split: str, start: int, stop: int) -> Iterator[bytes]:
    """Records start..stop-1 of a split, one picture in memory at a time."""
    those = [row for row in labels.rows(folder) if row.split == split][start:stop]
    for index, row in enumerate(those, start):
        png = writer.encode_image(np.asarray(picture(row)), "png")
        yield photograph(png, row.digits, row.boxes, longest, index)
