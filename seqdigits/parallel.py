"""Devices: a mesh of all of them, the batch split over it, everything else on each. The only room that knows D."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Devices:
    """All devices of all processes in a row.

    Attributes:
      count: D.
    """

    def __init__(self) -> None:
        self._mesh = Mesh(np.array(jax.devices()), ("data",))
        self.count = jax.device_count()

    @property
    def replicated(self) -> NamedSharding:
        """Where state and arrays lie: whole on every device."""
        return NamedSharding(self._mesh, PartitionSpec())

    def replicate(self, tree: Any) -> Any:
        """Places a tree whole on every device."""
        return jax.tree.map(lambda x: self._put(np.asarray(x), self.replicated), tree)

    def split(self, host: dict[str, np.ndarray], stacked: bool = False) -> dict[str, jax.Array]:
        """Splits a batch [B, ...] (or [S, B, ...] where `stacked`) over the devices. A batch that they do not divide is
        padded with index -1."""
        axis = 1 if stacked else 0
        sharding = NamedSharding(self._mesh, PartitionSpec(*[None] * axis, "data"))
        missing = -host["index"].shape[axis] % self.count
        if missing:
            host = {
                name: np.pad(
                    value,
                    [(0, missing if i == axis else 0) for i in range(value.ndim)],
                    constant_values=-1 if name == "index" else 0,
                )
                for name, value in host.items()
            }
        return {name: self._put(value, sharding) for name, value in host.items()}

    def jit(self, function: Callable, *, donate: int | None = None) -> Callable:
        """Compiles a function whose result is whole on every device; argument `donate` is given up to it."""
        return jax.jit(function, out_shardings=self.replicated, donate_argnums=() if donate is None else (donate,))

    def _put(self, value: np.ndarray, sharding: NamedSharding) -> jax.Array:
        # Every process holds the whole value, and gives its own devices their part.
        return jax.make_array_from_callback(value.shape, sharding, lambda part: value[part])
