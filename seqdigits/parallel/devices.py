"""Devices: a mesh of all of them, the batch split over it, everything else on each. The only room that knows D.

The same pure step runs in two ways. `jit`: it sees the whole batch, and the compiler splits the work. `pmap`: each device runs
it on its own part of the batch, and the step itself adds up over the axis `data`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PARALLEL = ("jit", "pmap")
_AXIS = "data"


class Devices:
    """All devices of all processes in a row.

    Attributes:
      count: D.
      axis: name of the axis that steps add up over under pmap; None under jit.
    """

    def __init__(self, parallel: str = "jit") -> None:
        """`parallel`: one of PARALLEL."""
        self._mesh = Mesh(np.array(jax.devices()), (_AXIS,))
        self.count = jax.device_count()
        self.axis = _AXIS if parallel == "pmap" else None

    @property
    def replicated(self) -> NamedSharding:
        """Where state and arrays lie: whole on every device."""
        return NamedSharding(self._mesh, PartitionSpec())

    def replicate(self, tree: Any) -> Any:
        """Places a tree whole on every device."""
        return jax.tree.map(lambda x: self._put(np.asarray(x), self.replicated), tree)

    def shard_batch(self, host_batch: dict[str, np.ndarray], stacked: bool = False) -> dict[str, jax.Array]:
        """Splits a batch [B, ...] (or [S, B, ...] where `stacked`) over the devices. Of several processes each gives its own
        rows, all as many. What the devices do not divide is padded: index -1, and of the rest the first row again, so
        that it is valid in every room."""
        axis = 1 if stacked else 0
        sharding = NamedSharding(self._mesh, PartitionSpec(*[None] * axis, _AXIS))
        processes = jax.process_count()
        missing = -host_batch["index"].shape[axis] % (self.count // processes)

        def place(name: str, value: np.ndarray) -> jax.Array:
            if missing:
                first = np.repeat(value.take([0], axis), missing, axis)
                value = np.concatenate([value, np.full_like(first, -1) if name == "index" else first], axis)
            shape = (*value.shape[:axis], value.shape[axis] * processes, *value.shape[axis + 1 :])
            return jax.make_array_from_process_local_data(sharding, value, shape)

        return {name: place(name, value) for name, value in host_batch.items()}

    def jit(self, function: Callable, *, donate: int | None = None) -> Callable:
        """Compiles a function whose result is whole on every device; argument `donate` is given up to it."""
        return jax.jit(function, out_shardings=self.replicated, donate_argnums=() if donate is None else (donate,))

    def compile_step(self, function: Callable, *, donate: int | None = None, stacked: bool = False) -> Callable:
        """Compiles a step, by jit or pmap.

        Args:
          function: its last argument is a batch from `shard_batch`, the others and its result are whole on every device.
          donate: 0 = the first argument is given up to it.
          stacked: of the batch, see shard_batch.
        """
        if self.axis is None:
            return self.jit(function, donate=donate)
        at = 1 if stacked else 0

        def on_one(given: tuple, whole: tuple, batch: Any) -> Any:
            return function(*given, *whole, batch)

        mapped = jax.pmap(on_one, self.axis, in_axes=(None, None, at), out_axes=None, donate_argnums=0)
        given_up = 0 if donate is None else 1

        def call(*args: Any) -> Any:
            *whole, batch = args
            parts = jax.tree.map(lambda x: x.reshape(*x.shape[:at], self.count, -1, *x.shape[at + 1 :]), batch)
            return mapped(tuple(whole[:given_up]), tuple(whole[given_up:]), parts)

        return call

    def _put(self, value: np.ndarray, sharding: NamedSharding) -> jax.Array:
        # Every process holds the whole value, and gives its own devices their part.
        return jax.make_array_from_callback(value.shape, sharding, lambda part: value[part])
