"""How much the grid of a reader can say at all: `python -m seqdigits upper-bound --config configs/X.py [--split validation]
[--limit N]`.

A cell says one digit, and of two boxes that overlap by more than decode.max_overlap one is dropped. An image whose true digits
break the second rule cannot be read right as a whole, however well the network is trained; nor one that breaks the first, where
only the cell of the center says the digit (loss.target = cell). With the other targets a cell beside it may.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.config_checks.validate import validate
from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Batch
from seqdigits.data.create import create_source
from seqdigits.data.image_size import as_evaluated
from seqdigits.data.source import example_limit
from seqdigits.models import layer_spec
from seqdigits.models.targets import center_cells


class UpperBound(NamedTuple):
    """Of the images of a split, how many the grid of a stride can say.

    Attributes:
      stride: pixels of the side of a cell.
      grid: cells, h and w.
      images: how many were looked at.
      apart: images with no two digits' centers in one cell.
      separate: images with no two boxes that overlap by more than decode.max_overlap.
      both: images with neither.
    """

    stride: int
    grid: tuple[int, int]
    images: int
    apart: int
    separate: int
    both: int


def measure_upper_bound(
    config: ConfigDict, split: str, limit: int | None = None, stop: Stop | None = None
) -> list[UpperBound]:
    """The ceilings of half the model's stride (where it is even), of its own, and of double.

    Args:
      config: of a reader.
      split: train, validation or test.
      limit: images, at most; None = those that an evaluation counts.
      stop: ends it early.

    Raises:
      UserError: the model has no grid.
      Stopped: `stop` was set before the end.
    """
    validate(config)
    if config.model.name != "dense_detector":
        raise UserError(f"model.name = {config.model.name} has no grid of cells. Name the config of a reader.")
    source = create_source(as_evaluated(config), split)
    own = layer_spec.total_stride(layer_spec.parse(config.model.encoder, "model.encoder"))
    strides = [own // 2] * (own % 2 == 0) + [own, 2 * own]
    key = stream_key(config.seed, RngStream.AUGMENT)

    @jax.jit
    def count(arrays: Any, host_batch: Any) -> Array:
        batch = source.make(arrays, host_batch, key, train=False)
        return jnp.stack([counts(batch, stride, config.decode.max_overlap) for stride in strides])

    arrays, total = jax.device_put(source.arrays), np.zeros((len(strides), 4), np.int64)
    whole = example_limit(source, split) if limit is None else limit
    for host_batch in source.all(config.evaluate.batch_size, whole):
        if stop is not None and stop.is_set():
            raise Stopped
        total += np.asarray(count(arrays, host_batch))
    height, width = source.spec.image[:2]
    return [
        UpperBound(stride, (-(-height // stride), -(-width // stride)), *row)
        for stride, row in zip(strides, total.tolist(), strict=True)
    ]


def counts(batch: Batch, stride: int, max_overlap: float) -> Array:
    """Images, and of those `apart`, `separate` and `both`, as in UpperBound: i32 [4]. Padding left out."""
    height, width = batch.image.shape[1:3]
    grid = (-(-height // stride), -(-width // stride))
    row, column = center_cells(batch.boxes, (grid[0] * stride, grid[1] * stride), grid)  # [B, L]
    cell = row * grid[1] + column
    there = batch.digits != NO_DIGIT
    two = there[:, :, None] & there[:, None] & ~jnp.eye(there.shape[1], dtype=bool)  # [B, L, L]
    apart = ~jnp.any(two & (cell[:, :, None] == cell[:, None]), axis=(1, 2))
    overlap = bx.iou(batch.boxes[:, :, None], batch.boxes[:, None])
    separate = ~jnp.any(two & (overlap > max_overlap), axis=(1, 2))
    each = (jnp.ones_like(apart), apart, separate, apart & separate)
    return jnp.stack([jnp.sum(batch.mask & one) for one in each])
