"""Statistics of the training images, measured once before step 0, kept beside the parameters and never trained."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
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
    """Fills the collection `input_stats` of a model, over training examples 0..9,999, or all where they are photographs.

    Args:
      config: the whole config.
      source: of the training split; `arrays` are its own, on the devices.
      empty: the collection as the model made it; what is in it is filled: `mean_box` f32 [4], cxcywh of the whole sequence in
        pixels, and under `pixels` the `mean` and `deviation` f32 [H, W, C] of each pixel, 0..255.

    Returns:
      The same tree, on the devices.
    """
    wants_pixels = "pixels" in empty
    make = partial(source.make, key=stream_key(config.seed, RngStream.AUGMENT), train=False)

    @devices.jit
    def look(arrays: Any, host_batch: Any) -> Any:
        batch = make(arrays, host_batch)
        box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
        return batch.mask, box, batch.image if wants_pixels else None

    count, boxes, pixels, squares = 0, np.zeros(4), np.zeros(()), np.zeros(())
    for host_batch in source.all(config.evaluate.batch_size, source.statistics_limit):
        mask, box, image = jax.device_get(look(arrays, devices.shard_batch(host_batch)))
        count += mask.sum()
        boxes = boxes + box[mask].astype(np.float64).sum(0)
        if wants_pixels:
            image = image[mask].astype(np.float64)
            pixels, squares = pixels + image.sum(0), squares + np.square(image).sum(0)
    filled = dict(empty)
    if "mean_box" in empty:
        filled["mean_box"] = (boxes / count).astype(np.float32)
    if wants_pixels:
        mean = pixels / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        filled["pixels"] = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    return devices.replicate(filled)
