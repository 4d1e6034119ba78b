"""Data parallelism: a mesh of all devices, batches sharded over it, everything else replicated.

The same pure step runs in two ways on D devices. `jit`: the step gets the full batch, and the compiler partitions the
work. `pmap`: each device runs the step on its shard of the batch, and the step itself sums over the axis `data`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_AXIS = "data"
PARALLEL = {"jit": None, "pmap": _AXIS}
"""Ways to run a step on several devices -> the axis that the step sums over."""


class Devices:
    """All devices of all processes, as a mesh with one axis.

    Attributes:
      count: D, the number of devices.
      axis: name of the axis that steps sum over under pmap; None under jit.
    """

    def __init__(self, parallel: str = "jit") -> None:
        """Creates the mesh; `parallel` is a key of PARALLEL."""
        self._mesh = Mesh(np.array(jax.devices()), (_AXIS,))
        self.count = jax.device_count()
        self.axis = PARALLEL[parallel]

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of the state and of resident arrays: a full copy on every device."""
        return NamedSharding(self._mesh, PartitionSpec())

    def replicate(self, tree: Any) -> Any:
        """Places a full copy of a tree on every device."""
        return jax.tree.map(lambda x: self._put(np.asarray(x), self.replicated), tree)

    def shard_batch(self, host_batch: dict[str, np.ndarray], stacked: bool = False) -> dict[str, jax.Array]:
        """Shards a host batch over the devices.

        A batch that the devices do not divide is padded: `index` with -1, everything else with copies of the first
        row, which are valid values for every step.

        Args:
          host_batch: [B, ...], or [S, B, ...] if `stacked`. Each process provides its own rows, all of them the
            same number.
          stacked: whether the batch is a stack of the batches of S steps.
        """
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
        """Compiles a function with a replicated result; argument number `donate` is donated to it."""
        return jax.jit(function, out_shardings=self.replicated, donate_argnums=() if donate is None else (donate,))

    def compile_step(self, function: Callable, *, donate: int | None = None, stacked: bool = False) -> Callable:
        """Compiles a step, with jit or pmap.

        Args:
          function: the step. Its last argument is a batch from `shard_batch`; its other arguments and its result are
            replicated.
          donate: 0 = the buffers of the first argument are donated to it; None = nothing is donated.
          stacked: whether the batch is stacked, see shard_batch.
        """
        if self.axis is None:
            return self.jit(function, donate=donate)
        batch_axis = 1 if stacked else 0

        def on_one_device(donated: tuple, kept: tuple, shard: Any) -> Any:
            return function(*donated, *kept, shard)

        mapped = jax.pmap(on_one_device, self.axis, in_axes=(None, None, batch_axis), out_axes=None, donate_argnums=0)
        num_donated = 0 if donate is None else 1

        def to_shards(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:batch_axis], self.count, -1, *x.shape[batch_axis + 1 :])

        def of_all_processes(x: jax.Array) -> jax.Array:
            # With several processes, pmap returns the copies of this process as an array of its own.
            copies = [shard.data for shard in x.addressable_shards]
            return jax.make_array_from_single_device_arrays(x.shape, self.replicated, copies)

        def call(*args: Any) -> Any:
            *replicated, batch = args
            result = mapped(
                tuple(replicated[:num_donated]), tuple(replicated[num_donated:]), jax.tree.map(to_shards, batch)
            )
            return result if jax.process_count() == 1 else jax.tree.map(of_all_processes, result)

        return call

    def _put(self, value: np.ndarray, sharding: NamedSharding) -> jax.Array:
        # Every process holds the full value and places it on its own devices.
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])
