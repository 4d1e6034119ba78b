"""The TFDS data set `digit_sequences`: composed digits, written to records.

The example of an index is byte for byte the one that VirtualSource computes.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.config.registry import config_names, load_config
from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.core.types import Batch, pad_rows
from seqdigits.data import record_location
from seqdigits.data.builders import tfds
from seqdigits.data.builders.base import RecordsBuilder, chunks, features, pixels
from seqdigits.data.builders.record_format import encode_image, serialize
from seqdigits.data.builders.shards import Records
from seqdigits.data.digits import DIGITS
from seqdigits.data.synthetic import compositions
from seqdigits.data.synthetic.source import create_synthetic

_CHUNK = 250
"""Number of examples in a batch of the computation."""


@dataclasses.dataclass(eq=False)
class SequencesConfig(tfds.core.BuilderConfig):
    """One set.

    Attributes:
      data: the complete section `data` of a config.
    """

    data: dict[str, Any] = dataclasses.field(default_factory=dict)


def _config(data: ConfigDict) -> SequencesConfig:
    text = f"{data.composition} of {data.digits} digits, pixels as {data.records_form}"
    plain = {**data.to_dict(), "source": "device", "folder": "", "records": ""}
    del plain["url"]  # the set does not depend on it
    return SequencesConfig(name=record_location.sequences_name(data), description=text, data=plain)


def _published() -> list[SequencesConfig]:
    """Returns the sets of all experiments in configs/, with each set of digits and in each form."""
    configs = {}
    for name in config_names():
        data = load_config(name).data
        if data.composition in compositions.COMPOSITIONS and (data.train_examples or data.composition == "digit"):
            for data.digits, data.records_form in itertools.product(DIGITS, record_location.FORMS):
                config = _config(data)
                configs[config.name] = config
    return [configs[name] for name in sorted(configs)]


class DigitSequences(RecordsBuilder):
    """Sequences of digits, each composed from digits of its own split. `builder(config)` supports any seed and size."""

    BUILDER_CONFIGS: ClassVar = _published()
    url = base_config().data.url
    """URL that missing MNIST files are downloaded from."""

    def _info(self) -> tfds.core.DatasetInfo:
        source = create_synthetic(_complete_config(self.builder_config.data), "train")
        image = pixels(self.builder_config.data["records_form"], source.spec.image)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Sequences of digits and their boxes: {self.builder_config.description}.",
            features=features(image, source.spec.max_length),
            disable_shuffling=True,
            license="MNIST: CC BY-SA 3.0; UCI digits: CC BY 4.0",
        )

    def _sizes(self) -> dict[str, int]:
        config = _complete_config(self.builder_config.data)
        return {split: create_synthetic(config, split).count() for split in SPLITS}

    def _records(self, folder: str) -> Records:
        return partial(_serialized, json.dumps({**self.builder_config.data, "folder": folder, "url": self.url}))


def builder(config: ConfigDict) -> DigitSequences:
    """Returns the builder of the set of a complete config, of any seed and size."""
    own = _config(config.data)
    registered = DigitSequences.builder_configs.get(own.name, own)
    result = DigitSequences(data_dir=record_location.root(config.data.records), config=registered)
    result.url = config.data.url
    return result


def _complete_config(data: dict[str, Any]) -> ConfigDict:
    config = base_config()
    config.data.update(data)
    return config


def _serialized(data: str, split: str, start: int, stop: int) -> Iterator[bytes]:
    """Yields the records start..stop-1; `data`: the section `data` of the config, as JSON."""
    form = json.loads(data)["records_form"]
    make = _compiled_make(data, split)
    for index in chunks(start, stop, _CHUNK):
        batch = make(pad_rows(index, _CHUNK))
        rows = (np.asarray(part) for part in (batch.image, batch.digits, batch.boxes))
        for image, digits, boxes, number in zip(*rows, index.tolist(), strict=False):
            length = int((digits != NO_DIGIT).sum())
            yield serialize(encode_image(image, form), digits, boxes, length, number)


@functools.cache  # a process writes many shards
def _compiled_make(data: str, split: str) -> Callable[[np.ndarray], Batch]:
    """Returns the function that maps indices i32 [_CHUNK] to a batch of numpy arrays."""
    config = _complete_config(json.loads(data))
    source = create_synthetic(config, split)
    arrays = jax.device_put(source.arrays)
    make = jax.jit(partial(source.make, train=False))
    key = jax.random.key(0)  # the key of augmentation, which is not used
    return lambda index: jax.device_get(make(arrays, {"index": index, "position": np.maximum(index, 0)}, key))
