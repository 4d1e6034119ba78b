"""The entry point of all data sets: `create_source(config, split)`.

A source has `spec`, `arrays`, `batches(start, batch_size)`, `all(batch_size)` and `make(arrays, host_batch, key, train)`;
see `source.DataSource`.
"""

from __future__ import annotations

import functools
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from seqdigits.data import scenes
from seqdigits.data.half_scenes import HalfScenes
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.photos.source import create_photos
from seqdigits.data.scenes.source import create_scenes
from seqdigits.data.source import DataSource
from seqdigits.data.synthetic.source import create_synthetic


def create_source(config: ConfigDict, split: str) -> DataSource:
    """Creates the source of one split ("train", "validation" or "test") from a complete config."""
    if config.data.source == "tfrecord":
        from seqdigits.data.tfdata import source as tfdata_source  # needs TensorFlow

        return tfdata_source.create_streamed(config, split, _source_on_device(config, split))
    return _source_on_device(config, split)


def _source_on_device(config: ConfigDict, split: str) -> DataSource:
    data = config.data
    # With "tfrecord" this is the source of the same examples as those of the records.
    reads_tfds = {"device": False, "tfds": True, "tfrecord": False}[data.source]
    if data.composition in PHOTO_COMPOSITIONS:
        photographs = create_photos(config, split, partial(_tfds_cropped, root=data.records) if reads_tfds else None)
        if not data.half_scenes or split != "train":
            return photographs
        return HalfScenes(photographs, create_scenes(config, split))
    if data.composition == scenes.NAME:
        return create_scenes(config, split)
    return create_synthetic(config, split, partial(_tfds_mnist, root=data.records) if reads_tfds else None)


@functools.cache  # all splits are slices of it
def _tfds_mnist(folder: Path, url: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    from seqdigits.data.tfdata import tfds_sets  # needs TensorFlow

    return tfds_sets.mnist(folder, url, root)


def _tfds_cropped(folder: Path, part: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    from seqdigits.data.tfdata import tfds_sets  # needs TensorFlow

    return tfds_sets.svhn_cropped(folder, part, root)
