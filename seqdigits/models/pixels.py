"""Pixel normalization: the first layer of every model, from uint8 pixels to floats.

It is part of the model so that training and evaluation cannot differ.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class PixelNormalization(nn.Module):
    """Normalizes the pixels of a batch of images.

    `per_pixel` uses the training set's mean and standard deviation from the collection `input_stats`. This collection
    is filled once before step 0, saved and restored with the parameters, and never trained.

    Attributes:
      kind: the value of `model.pixels`: `unit` = 0..1; `raw` = 0..255; `image_mean` = 0..1 minus the mean of the image;
        `per_pixel` = 0..255 minus the training set's mean of that pixel, divided by its standard deviation,
        which counts as 1 at least.
    """

    kind: str

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """Normalizes u8 [B, H, W, C] -> f32 [B, H, W, C]."""
        x = image.astype(jnp.float32)
        if self.kind == "raw":
            return x
        if self.kind == "unit":
            return x / 255
        if self.kind == "image_mean":
            x = x / 255
            return x - jnp.mean(x, axis=(1, 2, 3), keepdims=True)
        assert self.kind == "per_pixel", "there is no other kind"
        mean = self.variable("input_stats", "mean", jnp.zeros, image.shape[1:])
        deviation = self.variable("input_stats", "deviation", jnp.ones, image.shape[1:])
        return (x - mean.value) / jnp.maximum(deviation.value, 1.0)  # a pixel that never changes has deviation 0
