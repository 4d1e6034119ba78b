"""What the processes of a run share: the rows of a batch, and decisions that all must take alike."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.core.types import HostBatch, pad_rows


class ProcessSlice(NamedTuple):
    """The slice of each batch that belongs to this process: rows low to high - 1.

    Every process provides `size` rows; a smaller slice is padded.
    """

    low: int
    high: int
    size: int

    def host_batch(self, index: np.ndarray, position: np.ndarray) -> HostBatch:
        """Returns the host batch of this process, padded to `size` rows: -1 in index, 0 in position.

        Args:
          index: integers [b], b <= size.
          position: integers [b].
        """
        index, position = (pad_rows(rows.astype(np.int32), self.size) for rows in (index, position))
        return {"index": index, "position": np.maximum(position, 0)}


def process_slice(batch_size: int) -> ProcessSlice:
    """Returns the slice of this process in a batch of `batch_size` rows.

    Raises:
      UserError: some process would have no row.
    """
    process, count = jax.process_index(), jax.process_count()
    size = -(-batch_size // count)
    if size * (count - 1) >= batch_size:
        raise UserError(
            f"a batch of {batch_size} cannot be shared out among {count} processes: some would have no example. Set "
            f"train.batch_size and evaluate.batch_size to multiples of {count}."
        )
    return ProcessSlice(process * size, min((process + 1) * size, batch_size), size)


def is_main() -> bool:
    """Returns whether this is process 0, the only one that writes logs and manifests."""
    return jax.process_index() == 0


def agree_to_stop(stop: Stop) -> bool:
    """Returns whether any process was asked to stop, and sets `stop` if so.

    All processes must call this at the same point of the run, so that they stop at the same step. It costs one small
    collective operation.
    """
    if jax.process_count() == 1:
        return stop.is_set()
    status = max(multihost_utils.process_allgather(np.int32(stop.exit_status if stop.is_set() else 0)))
    if status:
        stop.request(int(status))  # one status for all, although their signals may differ
    return bool(status)


def from_main(values: np.ndarray) -> np.ndarray:
    """Returns the values of process 0, in every process; also a barrier.

    Args:
      values: an array of the same shape and dtype in every process.
    """
    if jax.process_count() == 1:
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values))
