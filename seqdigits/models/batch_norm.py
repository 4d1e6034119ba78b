"""Batch norm that counts only rows that are not padding."""

from __future__ import annotations

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


class MaskedBatchNorm(nn.Module):
    """Batch norm (Ioffe and Szegedy 2015, section 3) over all axes but the last, counting only rows that are not padding.

    Sums and counts are taken apart, so that a batch split over devices normalizes as one. Flax's own divides by the
    padded count.

    Attributes:
      use_scale: whether the normalized numbers are multiplied by a trained scale before the trained shift is added.
      axis, frozen: see Base. A frozen norm uses its running statistics in training too, and leaves them as they are.
      decay: of the running mean and variance.
      epsilon: added to the variance.
    """

    use_scale: bool = True
    axis: str | None = None
    frozen: str = ""
    decay: float = 0.9
    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array) -> Array:
        """x f32 [B, ..., F], mask bool [B] -> f32 [B, ..., F]."""
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,)) if self.use_scale else 1.0
        shift = self.param("bias", nn.initializers.zeros, (features,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        var = self.variable("batch_stats", "var", jnp.ones, (features,))
        is_frozen = bool(self.frozen) and re.fullmatch(self.frozen, "/".join((*self.path, "bias")))
        if is_frozen or not train:
            return (x - mean.value) * (scale * jax.lax.rsqrt(var.value + self.epsilon)) + shift
        axes = tuple(range(x.ndim - 1))
        rows = mask.reshape((-1,) + (1,) * (x.ndim - 1))
        x = jnp.where(rows, x, 0)  # here already, or what stands in a padded row would reach the gradient
        each = x.size // x.shape[0] // features
        count = jnp.maximum(self._over_devices(jnp.sum(mask)), 1) * each
        batch_mean = self._over_devices(jnp.sum(x, axes)) / count
        batch_var = self._over_devices(jnp.sum(jnp.where(rows, jnp.square(x - batch_mean), 0), axes)) / count
        if not self.is_initializing():
            mean.value = self.decay * mean.value + (1 - self.decay) * batch_mean
            var.value = self.decay * var.value + (1 - self.decay) * batch_var
        return (x - batch_mean) * (scale * jax.lax.rsqrt(batch_var + self.epsilon)) + shift

    def _over_devices(self, total: Array) -> Array:
        return jax.lax.psum(total, self.axis) if self.axis else total
