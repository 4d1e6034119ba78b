"""Batch normalization that ignores padded rows."""

from __future__ import annotations

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


class MaskedBatchNorm(nn.Module):
    """Batch norm over all axes but the last, with statistics of the rows that are not padding.

    After Ioffe and Szegedy 2015, section 3. Sums and counts are reduced separately, so that a batch that is split over
    devices is normalized as one batch. `nn.BatchNorm` would divide by a count that includes the padding.

    Attributes:
      use_scale: whether a trained scale is multiplied before the trained shift ("bias") is added.
      axis: see stack.Base.
      frozen: see stack.Base. A frozen norm uses its running statistics in training too, and does not update them.
      decay: of the running mean and variance.
      epsilon: added to the variance.
      dtype: of the result. Statistics and normalization are computed in float32.
    """

    use_scale: bool = True
    axis: str | None = None
    frozen: str = ""
    decay: float = 0.9
    epsilon: float = 1e-3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array) -> Array:
        """Normalizes x [B, ..., F] with mask bool [B], False on padding -> dtype [B, ..., F]."""
        x = x.astype(jnp.float32)
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,)) if self.use_scale else 1.0
        shift = self.param("bias", nn.initializers.zeros, (features,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        var = self.variable("batch_stats", "var", jnp.ones, (features,))
        is_frozen = bool(self.frozen) and re.fullmatch(self.frozen, "/".join((*self.path, "bias")))
        if is_frozen or not train:
            return ((x - mean.value) * (scale * jax.lax.rsqrt(var.value + self.epsilon)) + shift).astype(self.dtype)
        axes = tuple(range(x.ndim - 1))
        row_mask = mask.reshape((-1,) + (1,) * (x.ndim - 1))
        x = jnp.where(row_mask, x, 0)  # before any arithmetic: NaN in a padded row would reach the gradient
        positions_per_row = x.size // x.shape[0] // features
        count = jnp.maximum(self._sum_over_devices(jnp.sum(mask)), 1) * positions_per_row
        batch_mean = self._sum_over_devices(jnp.sum(x, axes)) / count
        squares = jnp.where(row_mask, jnp.square(x - batch_mean), 0)
        batch_var = self._sum_over_devices(jnp.sum(squares, axes)) / count
        if not self.is_initializing():
            mean.value = self.decay * mean.value + (1 - self.decay) * batch_mean
            var.value = self.decay * var.value + (1 - self.decay) * batch_var
        return ((x - batch_mean) * (scale * jax.lax.rsqrt(batch_var + self.epsilon)) + shift).astype(self.dtype)

    def _sum_over_devices(self, total: Array) -> Array:
        return jax.lax.psum(total, self.axis) if self.axis else total
