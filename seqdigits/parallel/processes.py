"""The rows of a batch that each process provides."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from seqdigits.core.errors import UserError
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
