"""Training data of which every second image is a synthetic scene, and the others are photographs.

A reader that is trained on photographs alone forgets what it has learned from scenes: pictures without a number, thin pens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.core.errors import UserError
from seqdigits.core.types import Batch, HostBatch
from seqdigits.data.source import DataSource

_PREFIXES = ("photographs", "scenes")


def check_devices(batch_size: int, devices: int) -> None:
    """Refuses a batch size with which a device would get a photograph without its scene.

    Raises:
      UserError: a device would get an odd number of images.
    """
    if batch_size % (2 * devices):
        raise UserError(
            f"train.batch_size = {batch_size}: with data.half_scenes each of the {devices} devices needs an even number of "
            f"images. Set it to a multiple of {2 * devices}."
        )


class HalfScenes(DataSource):
    """Photographs in the even rows of a training batch, and scenes in its odd rows. In evaluation, photographs alone."""

    def __init__(self, photographs: DataSource, scenes: DataSource):
        """Creates the source of the training split from two sources of images of the same size and maximum length."""
        self._sources = (photographs, scenes)
        spec = photographs.spec
        assert (spec.image, spec.max_length) == (scenes.spec.image, scenes.spec.max_length)
        arrays = {
            f"{prefix}/{name}": array
            for prefix, source in zip(_PREFIXES, self._sources, strict=True)
            for name, array in source.spec.arrays.items()
        }
        super().__init__(replace(spec, min_length=0, arrays=arrays), order_seed=0)
        self.statistics_limit = photographs.statistics_limit

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of both sources, by `photographs/NAME` and `scenes/NAME`."""
        return {
            f"{prefix}/{name}": array
            for prefix, source in zip(_PREFIXES, self._sources, strict=True)
            for name, array in source.arrays.items()
        }

    def batches(self, start: int, batch_size: int) -> Iterator[HostBatch]:
        """Yields training batches, see DataSource.batches. Rows 2j and 2j + 1 have the same position."""
        for pair in zip(*(source.batches(start, batch_size // 2) for source in self._sources), strict=True):
            yield {name: np.stack([one[name] for one in pair], 1).reshape(-1) for name in pair[0]}

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[HostBatch]:
        """Yields the photographs, see DataSource.all."""
        return self._sources[0].all(batch_size, limit)

    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """See DataSource.make."""
        of_sources = [
            {name.removeprefix(f"{prefix}/"): array for name, array in arrays.items() if name.startswith(f"{prefix}/")}
            for prefix in _PREFIXES
        ]
        photographs, scenes = self._sources
        if not train:
            return photographs.make(of_sources[0], host_batch, key, train)
        halves = [{name: rows[i::2] for name, rows in host_batch.items()} for i in (0, 1)]
        even = photographs.make(of_sources[0], halves[0], key, train)
        odd = scenes.make(of_sources[1], halves[1], key, train)
        even = even.replace(number=jnp.zeros_like(even.digits))  # a photograph has one number
        if even.ignored is not None:
            odd = odd.replace(ignored=jnp.zeros_like(even.ignored))
        return jax.tree.map(lambda a, b: jnp.stack([a, b], 1).reshape(-1, *a.shape[1:]), even, odd)
