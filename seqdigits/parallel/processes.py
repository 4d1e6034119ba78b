"""Which rows of a batch each process gives."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from seqdigits.core.errors import UserError
from seqdigits.core.types import HostBatch, pad_rows


class ProcessSlice(NamedTuple):
    """Rows low..high-1 of each batch are this process's; all processes give `size` rows, filled up with padding."""

    low: int
    high: int
    size: int

    def host_batch(self, index: np.ndarray, position: np.ndarray) -> HostBatch:
        """The rows of this process, at most `size`, filled up."""
        index, position = (pad_rows(rows.astype(np.int32), self.size) for rows in (index, position))
        return {"index": index, "position": np.maximum(position, 0)}


def process_slice(batch_size: int) -> ProcessSlice:
    """What each process gives of a batch.

    Raises:
      UserError: there are more processes than rows.
    """
    process, count = jax.process_index(), jax.process_count()
    size = -(-batch_size // count)
    if size * (count - 1) >= batch_size:
        raise UserError(
            f"a batch of {batch_size} cannot be shared out among {count} processes, some would have none of it. Make "
            "train.batch_size and evaluate.batch_size larger, multiples at best."
        )
    return ProcessSlice(process * size, min((process + 1) * size, batch_size), size)
