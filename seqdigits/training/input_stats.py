"""Statistics of the training images: measured before step 0, saved with the parameters, never trained."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Variables
from seqdigits.data.source import DataSource
from seqdigits.parallel.devices import Devices


def measure(
    config: ConfigDict, source: DataSource, arrays: dict[str, jax.Array], devices: Devices, empty: Variables
) -> Any:
    """Measures the collection `input_stats` of a model on the training split.

    The statistics cover examples 0..9,999, or all examples if they are photographs.

    Args:
      config: the complete config.
      source: the training split.
      arrays: the arrays of the source, on the devices.
      devices: the devices of the run.
      empty: the collection as the model initialized it. Only entries present in it are measured: `mean_box` f32 [4],
        cxcywh in pixels, the mean of the enclosing boxes of the sequences, without images that have no digit; and `pixels`,
        with the `mean` and the standard `deviation` f32 [H, W, C] of each pixel, 0..255.

    Returns:
      A tree of the same structure, on the devices.
    """
    needs_pixels = "pixels" in empty
    make = partial(source.make, key=stream_key(config.seed, RngStream.AUGMENT), train=False)

    @devices.jit
    def collect(arrays: Any, host_batch: Any) -> Any:
        batch = make(arrays, host_batch)
        box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
        has_digits = jnp.any(batch.digits != NO_DIGIT, axis=-1)
        return batch.mask, batch.mask & has_digits, box, batch.image if needs_pixels else None

    count, with_digits, boxes, pixels, squares = 0, 0, np.zeros(4), np.zeros(()), np.zeros(())
    for host_batch in source.all(config.evaluate.batch_size, source.statistics_limit):
        mask, located, box, image = jax.device_get(collect(arrays, devices.shard_batch(host_batch)))
        count += mask.sum()
        with_digits += located.sum()
        boxes = boxes + box[located].astype(np.float64).sum(0)
        if needs_pixels:
            image = image[mask].astype(np.float64)
            pixels, squares = pixels + image.sum(0), squares + np.square(image).sum(0)
    filled = dict(empty)
    if "mean_box" in empty:
        filled["mean_box"] = (boxes / max(with_digits, 1)).astype(np.float32)
    if needs_pixels:
        mean = pixels / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        filled["pixels"] = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    return devices.replicate(filled)
