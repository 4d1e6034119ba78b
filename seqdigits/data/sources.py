"""Where batches come from: `create(config, split)` gives a source. A data set is a pure function of the index.

A source has `spec`, `arrays`, `batches(start)`, `all(batch_size)` and `make(arrays, host, key, train)`; see VirtualSource.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.batch import Batch, Spec, pad_rows
from seqdigits.data import compose, digits
from seqdigits.streams import Stream, stream_key

Host = dict[str, np.ndarray]
"""What the host gives a step: index i32 [B] and position i32 [B]."""


class VirtualSource:
    """Examples composed on the accelerator inside the step. Nothing on disk.

    Attributes:
      spec: see Spec.
    """

    def __init__(
        self,
        *,
        composition: compose.Digit | compose.Canvas,
        augmentation: compose.Augmentation,
        digit_set: str,
        split: str,
        validation: int,
        folder: str,
        url: str,
        num_examples: int | None,
        examples: tuple[int, Stream],
        order_seed: int,
    ):
        """`examples`: seed and stream of the examples themselves; `order_seed`: of their order in an epoch."""
        self._composition = composition
        self._augmentation = augmentation
        self._load = lambda: digits.load(digit_set, split, validation=validation, folder=folder, url=url)
        self._examples = examples
        self._order_seed = order_seed
        available = digits.num_digits(digit_set, split, validation)
        if isinstance(composition, compose.Digit):
            num_examples = available
        self.spec = Spec(
            image=(composition.height, composition.width, 1),
            max_length=composition.max_length,
            min_length=composition.min_length,
            num_examples=num_examples,
            arrays={
                "images": jax.ShapeDtypeStruct((available, digits.SIZE, digits.SIZE), jnp.uint8),
                "labels": jax.ShapeDtypeStruct((available,), jnp.int32),
            },
        )

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """What `make` needs: an ARGUMENT of the compiled step, placed on the devices once."""
        images, labels = self._load()
        return {"images": images, "labels": labels}

    def batches(self, start: int, batch_size: int) -> Iterator[Host]:
        """Training batches from step `start` on, without end. Position = step * B + j; a finite set has a fresh order each
        epoch (position // N), and a batch may straddle two epochs."""
        order: dict[int, np.ndarray] = {}
        for step in range(start, np.iinfo(np.int32).max):
            position = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
            if self.spec.num_examples is None:
                index = position
            else:
                epochs, places = np.divmod(position, self.spec.num_examples)
                order = {
                    e: order[e] if e in order else self._permutation(e) for e in np.unique(epochs).tolist()
                }  # sorted
                index = np.concatenate([order[e][places[epochs == e]] for e in order])
            yield {"index": index.astype(np.int32), "position": position.astype(np.int32)}

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[Host]:
        """Examples 0..N-1 in order, each once (the first `limit` of them), the last batch padded with index -1."""
        for start in range(0, self.count(limit), batch_size):
            rows = np.arange(start, min(start + batch_size, self.count(limit)), dtype=np.int32)
            index = pad_rows(rows, batch_size)
            yield {"index": index, "position": np.maximum(index, 0)}

    def count(self, limit: int | None = None) -> int:
        """How many examples `all(limit=limit)` gives.

        Raises:
          ValueError: the set is endless and there is no limit.
        """
        sizes = [n for n in (self.spec.num_examples, limit) if n is not None]
        if not sizes:
            raise ValueError("an endless set has no last example: give a limit")
        return min(sizes)

    def make(self, arrays: dict[str, Array], host: dict[str, Array], key: Array, train: bool) -> Batch:
        """The batch, pure and traceable.

        Args:
          arrays: `self.arrays`, on the device.
          host: index i32 [B], -1 = padding; position i32 [B].
          key: of augmentation, folded with each position: the same on any number of devices, new each epoch.
          train: whether to augment.
        """
        index = jnp.maximum(host["index"], 0)  # a padded row is example 0, computed as usual
        seed, stream = self._examples
        keys = jax.vmap(jax.random.fold_in, (None, 0))(stream_key(seed, stream), index)
        augment_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, host["position"]) if train else None

        def one(index: Array, key: Array, augment_key: Array | None) -> tuple[Array, Array, Array]:
            return compose.compose(self._composition, arrays, index, key, augment_key, self._augmentation)

        image, digits_, boxes = jax.vmap(one)(index, keys, augment_keys)
        return Batch(image=image, digits=digits_, boxes=boxes, index=host["index"])

    def _permutation(self, epoch: int) -> np.ndarray:
        # On the host: a permutation of 165,000 inside the compiled step costs 94 ms a step.
        generator = np.random.Generator(np.random.Philox(key=np.array([self._order_seed, epoch], np.uint64)))
        return generator.permutation(self.count())


Source = VirtualSource

TRAIN_LIMIT = 10_000
"""The training figure, and statistics of training images, are of training examples 0..9,999."""


def limit_of(source: Source, split: str) -> int | None:
    """How many examples of a split a whole evaluation counts: of train the first 10,000, else all."""
    return min(TRAIN_LIMIT, source.spec.num_examples or TRAIN_LIMIT) if split == "train" else None


def create(config: ConfigDict, split: str) -> Source:
    """The source of one split ("train", "validation", "test") as a whole config describes it."""
    data = config.data
    num_examples = {"train": data.train_examples, "validation": data.validation_examples, "test": data.test_examples}
    endless = data.composition != "digit" and num_examples[split] == 0
    return VirtualSource(
        composition=_composition(data),
        augmentation=compose.Augmentation(rotation=data.rotation, zoom=data.zoom, shear=data.shear, shift=data.shift),
        digit_set=data.digits,
        split=split,
        validation=digits.DIGITS[data.digits].pool * data.validation_percent // 100,
        folder=data.folder,
        url=data.url,
        num_examples=None if endless else num_examples[split],
        examples=(config.seed, Stream.ENDLESS) if endless else (data.seed, Stream[split.upper()]),
        order_seed=config.seed,
    )


def _composition(data: ConfigDict) -> compose.Digit | compose.Canvas:
    if data.composition == "digit":
        return compose.Digit()
    return compose.Canvas(data.height, data.width, data.max_length, data.min_length)
