"""The TFDS data set `own_numbers`: custom photos (see data/photos/folder.py), written to records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from seqdigits.core.constants import SPLITS
from seqdigits.core.files import expanded
from seqdigits.data import record_location
from seqdigits.data.builders import tfds
from seqdigits.data.builders.base import RecordsBuilder, features, photograph, pixels
from seqdigits.data.builders.record_format import encode_image
from seqdigits.data.builders.shards import Records
from seqdigits.data.photos import labels
from seqdigits.data.photos.folder import picture


@dataclasses.dataclass(eq=False)
class FolderConfig(tfds.core.BuilderConfig):
    """One folder of custom photos.

    Attributes:
      folder: folder of labels.csv and the image files.
    """

    folder: str = ""


class OwnNumbers(RecordsBuilder):
    """Images rotated upright, in their original size, as PNG, in file order. Created by `builder(config)`.

    The name of the class is the name of the TFDS data set, `own_numbers`.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of numbers.",
            features=features(pixels("png", (None, None, 3)), self._max_length),
            disable_shuffling=True,
        )

    @property
    def _max_length(self) -> int:
        return max(len(row.digits) for row in labels.rows(self.builder_config.folder))

    def _sizes(self) -> dict[str, int]:
        counts = dict.fromkeys(SPLITS, 0)
        for row in labels.rows(self.builder_config.folder):
            counts[row.split] += 1
        return {split: number for split, number in counts.items() if number}

    def _records(self, folder: str) -> Records:
        del folder  # it is in the config
        return partial(_serialized, self.builder_config.folder, self._max_length)

    def _identity(self) -> dict[str, Any]:
        return {"photos": record_location.custom_photos_name(expanded(self.builder_config.folder))}

    def _metadata(self) -> dict[str, Any]:
        return {"longest": self._max_length}


def builder(config: ConfigDict) -> OwnNumbers:
    """Returns the builder of the set of a complete config."""
    _, name = record_location.location(config)
    folder_config = FolderConfig(name=name, folder=config.data.folder)
    return OwnNumbers(data_dir=record_location.root(config.data.records), config=folder_config)


def _serialized(folder: str, max_length: int, split: str, start: int, stop: int) -> Iterator[bytes]:
    """Yields the records start..stop-1 of a split, with one image in memory at a time."""
    chosen = [row for row in labels.rows(folder) if row.split == split][start:stop]
    for index, row in enumerate(chosen, start):
        png = encode_image(np.asarray(picture(row)), "png")
        yield photograph(png, row.digits, row.boxes, max_length, index)
