"""Measures the upper bound on the sequence accuracy of a dense detector for its grid of cells.

`seqdigits upper-bound CONFIG [--split validation] [--limit N]`

A cell predicts one digit, and NMS drops one of two boxes that overlap by more than decode.max_overlap. An image whose
true boxes overlap by more can never be an exact match, however well the network is trained. With loss.target = cell
only the cell of a digit's center predicts it, so the same holds for an image with two centers in one cell. With the
other targets a neighboring cell may predict the second digit.
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
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.data.source import example_limit
from seqdigits.models import layer_spec
from seqdigits.models.targets import center_cells


class UpperBound(NamedTuple):
    """The number of images of a split that the grid of a stride can represent.

    Attributes:
      stride: the side of a cell in pixels.
      grid: the number of cells, rows and columns.
      images: the number of images counted.
      apart: the number of images without two digits' centers in one cell.
      separate: the number of images without two boxes whose IoU exceeds decode.max_overlap.
      both: the number of images that are both apart and separate.
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
    """Returns the upper bounds for three strides of the grid.

    They are half of the model's stride (if it is even), the model's stride, and twice the model's stride.

    Args:
      config: the config of a dense detector.
      split: train, validation or test.
      limit: the maximum number of images; None = as many as an evaluation counts.
      stop: ends the measurement early.

    Raises:
      UserError: the model has no grid of cells.
      Stopped: `stop` was set before the end.
    """
    validate(config)
    if config.model.name != "dense_detector":
        raise UserError(
            f"model.name = {config.model.name} has no grid of cells: allowed is dense_detector. Name such a config."
        )
    source = create_source(as_evaluated(config), split)
    model_stride = layer_spec.total_stride(layer_spec.parse(config.model.encoder, "model.encoder"))
    strides = [model_stride // 2] * (model_stride % 2 == 0) + [model_stride, 2 * model_stride]
    key = stream_key(config.seed, RngStream.AUGMENT)

    @jax.jit
    def count(arrays: Any, host_batch: Any) -> Array:
        batch = source.make(arrays, host_batch, key, train=False)
        return jnp.stack([count_representable(batch, stride, config.decode.max_overlap) for stride in strides])

    arrays, total = jax.device_put(source.arrays), np.zeros((len(strides), 4), np.int64)
    max_images = example_limit(source, split) if limit is None else limit
    for host_batch in source.all(config.evaluate.batch_size, max_images):
        if stop is not None and stop.is_set():
            raise Stopped
        total += np.asarray(count(arrays, host_batch))
    height, width = source.spec.image[:2]
    return [
        UpperBound(stride, (-(-height // stride), -(-width // stride)), *row)
        for stride, row in zip(strides, total.tolist(), strict=True)
    ]


def count_representable(batch: Batch, stride: int, max_overlap: float) -> Array:
    """Returns `images`, `apart`, `separate` and `both` of UpperBound, i32 [4]; padding is not counted."""
    height, width = batch.image.shape[1:3]
    grid = (-(-height // stride), -(-width // stride))
    row, column = center_cells(batch.boxes, (grid[0] * stride, grid[1] * stride), grid)  # [B, L]
    cell = row * grid[1] + column
    is_digit = batch.digits != NO_DIGIT
    is_pair = is_digit[:, :, None] & is_digit[:, None] & ~jnp.eye(is_digit.shape[1], dtype=bool)  # [B, L, L]
    apart = ~jnp.any(is_pair & (cell[:, :, None] == cell[:, None]), axis=(1, 2))
    overlap = bx.iou(batch.boxes[:, :, None], batch.boxes[:, None])
    separate = ~jnp.any(is_pair & (overlap > max_overlap), axis=(1, 2))
    conditions = (jnp.ones_like(apart), apart, separate, apart & separate)
    return jnp.stack([jnp.sum(batch.mask & condition) for condition in conditions])
