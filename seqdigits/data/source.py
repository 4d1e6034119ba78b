"""The interface of all data sets: `DataSource`."""

from __future__ import annotations

import abc
from collections.abc import Iterator

import numpy as np
from jax import Array

from seqdigits.core.types import Batch, HostBatch, Spec
from seqdigits.parallel.processes import process_slice

TRAIN_LIMIT = 10_000
"""Metrics on the training split, and statistics of synthetic images, cover training examples 0..9,999."""


class DataSource(abc.ABC):
    """Examples 0..N-1 of one split, each a pure function of its index; augmentation in training also of key and position.

    Attributes:
      spec: see Spec.
      statistics_limit: number of training examples that image statistics are computed over; None = all.
    """

    statistics_limit: int | None

    def __init__(self, spec: Spec, order_seed: int):
        """Creates a source; `order_seed` seeds the order of the examples in each epoch."""
        self.spec = spec
        self._order_seed = order_seed

    @property
    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that `make` needs: an argument of the compiled step, placed on the devices once."""

    @abc.abstractmethod
    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """Makes a batch on the device. Pure and traceable.

        Args:
          arrays: `self.arrays`, on the device.
          host_batch: index i32 [B], -1 = padding; position i32 [B]; and the payload of `spec`, if any.
          key: key of augmentation, folded with each position. Augmentation is therefore the same on any number of
            devices, and resampled in every epoch.
          train: whether to augment.
        """

    def batches(self, start: int, batch_size: int) -> Iterator[HostBatch]:
        """Yields training batches from step `start` on, without end.

        Row j of step s has position s * B + j. A finite set is reshuffled in each epoch (position // N), and a batch may
        straddle two epochs.
        """
        order: dict[int, np.ndarray] = {}
        local = process_slice(batch_size)
        for step in range(start, np.iinfo(np.int32).max):
            position = np.arange(step * batch_size + local.low, step * batch_size + local.high, dtype=np.int64)
            if self.spec.num_examples is None:
                index = position
            else:
                epochs, offsets = np.divmod(position, self.spec.num_examples)
                order = {
                    e: order[e] if e in order else self._permutation(e) for e in np.unique(epochs).tolist()
                }  # sorted
                index = np.concatenate([order[e][offsets[epochs == e]] for e in order])
            yield local.host_batch(index, position)

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[HostBatch]:
        """Yields examples 0..N-1 once each, or the first `limit` of them.

        The last batch is padded with index -1. Every process yields the same number of batches.
        """
        local, count = process_slice(batch_size), self.count(limit)
        for start in range(0, count, batch_size):
            rows = np.arange(min(start + local.low, count), min(start + local.high, count))
            yield local.host_batch(rows, rows)

    def count(self, limit: int | None = None) -> int:
        """Returns the number of examples that `all(limit=limit)` yields.

        Raises:
          ValueError: the set is endless and there is no limit.
        """
        sizes = [n for n in (self.spec.num_examples, limit) if n is not None]
        if not sizes:
            raise ValueError("an endless set has no last example: pass a limit")
        return min(sizes)

    def _permutation(self, epoch: int) -> np.ndarray:
        # On the host, because a permutation of 165,000 inside the compiled step costs 94 ms per step.
        generator = np.random.Generator(np.random.Philox(key=np.array([self._order_seed, epoch], np.uint64)))
        return generator.permutation(self.count())


def example_limit(source: DataSource, split: str) -> int | None:
    """Returns the number of examples in a full evaluation of a split: the first 10,000 of train, else all."""
    return min(TRAIN_LIMIT, source.spec.num_examples or TRAIN_LIMIT) if split == "train" else None
