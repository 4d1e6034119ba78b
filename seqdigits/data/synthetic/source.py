"""The source of examples that are composed from single digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Batch, Spec
from seqdigits.data import digits
from seqdigits.data.image_size import size_of
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.source import TRAIN_LIMIT, DataSource
from seqdigits.data.synthetic import compositions


class VirtualSource(DataSource):
    """Examples composed from single digits on the device, inside the step. Nothing is written to disk."""

    statistics_limit = TRAIN_LIMIT

    def __init__(
        self,
        *,
        composition: compositions.Composition,
        augmentation: compositions.Augmentation,
        num_digits: int,
        load: Callable[[], tuple[np.ndarray, np.ndarray]],
        num_examples: int | None,
        examples: tuple[int, RngStream],
        order_seed: int,
        channels: int = 1,
        in_passes: bool = False,
    ):
        """Creates the source of one split.

        Args:
          composition: the arrangement of the digits.
          augmentation: the ranges of augmentation in training.
          num_digits: N, the number of digits.
          load: returns the images u8 [N, 28, 28] and labels i32 [N] of the digits.
          num_examples: number of examples, None = endless. Ignored for single digits, where each digit is an example.
          examples: seed and random stream of the examples.
          order_seed: seed of the order of the examples in each epoch.
          channels: 1, or 3 equal channels.
          in_passes: whether digits are drawn in passes, see passes.draw.
        """
        self._composition = composition
        self._augmentation = augmentation
        self._load = load
        self._examples = examples
        self._in_passes = in_passes
        spec = Spec(
            image=(composition.height, composition.width, channels),
            max_length=composition.max_length,
            min_length=composition.min_length,
            num_examples=num_digits if isinstance(composition, compositions.Digit) else num_examples,
            arrays={
                "images": jax.ShapeDtypeStruct((num_digits, digits.SIZE, digits.SIZE), jnp.uint8),
                "labels": jax.ShapeDtypeStruct((num_digits,), jnp.int32),
            },
        )
        super().__init__(spec, order_seed)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The images u8 [N, 28, 28] and labels i32 [N] of the single digits."""
        images, labels = self._load()
        return {"images": images, "labels": labels}

    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """See DataSource.make."""
        index = jnp.maximum(host_batch["index"], 0)  # a padded row is example 0, computed as usual
        seed, stream = self._examples
        keys = jax.vmap(jax.random.fold_in, (None, 0))(stream_key(seed, stream), index)
        order_key = (
            jax.random.fold_in(stream_key(seed, RngStream.DIGIT_ORDER), int(stream)) if self._in_passes else None
        )
        augment_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, host_batch["position"]) if train else None

        def one(index: Array, key: Array, augment_key: Array | None) -> tuple[Array, Array, Array]:
            return compositions.compose(
                self._composition, arrays, index, key, augment_key, self._augmentation, order_key
            )

        image, digits_, boxes = jax.vmap(one)(index, keys, augment_keys)
        image = jnp.broadcast_to(image, (*image.shape[:-1], self.spec.image[-1]))
        return Batch(image=image, digits=digits_, boxes=boxes, index=host_batch["index"])


ReadMnist = Callable[[Path, str], tuple[np.ndarray, np.ndarray]]
"""Reads all of MNIST from a folder and url; see digits.load."""


def create_synthetic(config: ConfigDict, split: str, read_mnist: ReadMnist | None = None) -> VirtualSource:
    """Creates the source of one split of composed digits; for `read_mnist`, see digits.load."""
    data = config.data
    return VirtualSource(
        composition=_composition(data, split),
        augmentation=compositions.Augmentation(**{name: data[name] for name in compositions.AUGMENTATION_KEYS}),
        channels=3 if data.rgb else 1,
        in_passes={"independent": False, "passes": True}[data.digit_order],
        **digits_of(config, split, read_mnist),
    )


def digits_of(config: ConfigDict, split: str, read_mnist: ReadMnist | None = None) -> dict[str, Any]:
    """Returns the arguments of VirtualSource and SceneSource that describe the digits and the examples, by name."""
    data = config.data
    num_examples = {"train": data.train_examples, "validation": data.validation_examples, "test": data.test_examples}
    endless = data.composition != "digit" and num_examples[split] == 0
    validation = digits.DIGITS[data.digits].pool * data.validation_percent // 100
    of_digits = "train" if split == "validation" and data.share_digits else split
    distinct = data.distinct_digits if of_digits == "train" else 0
    chosen = {"validation": validation, "place": data.validation_place, "distinct": distinct}
    is_custom = data.composition in PHOTO_COMPOSITIONS and data.photographs == "folder"  # data.folder has photos alone
    files = {"folder": "" if is_custom else data.folder, "url": data.url, "read_mnist": read_mnist}
    return {
        "num_digits": distinct or digits.num_digits(data.digits, of_digits, validation),
        "load": partial(digits.load, data.digits, of_digits, **chosen, **files),
        "num_examples": None if endless else num_examples[split],
        "examples": (config.seed, RngStream.ENDLESS) if endless else (data.seed, RngStream[split.upper()]),
        "order_seed": config.seed,
    }


def _composition(data: ConfigDict, split: str) -> compositions.Composition:
    height, width = size_of(data, split)
    min_length = (split == "train" and data.train_min_length) or data.min_length
    if data.composition == "digit":
        return compositions.Digit()
    if data.composition == "rotated":
        return compositions.Rotated(
            height, width, data.max_length, min_length, data.jitter, data.stacked, data.max_rotation
        )
    if data.composition == "centered":
        return compositions.Centered(height, width, data.max_length, min_length)
    assert data.composition == "canvas", "COMPOSITIONS has no other name"
    return compositions.Canvas(height, width, data.max_length, min_length, data.scattered)
