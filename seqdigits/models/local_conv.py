"""A locally connected layer: a convolution with a kernel of its own at each position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.models.convolution import patches


class LocalConv(nn.Module):
    """A convolution of stride 1 that shares neither kernels nor biases between positions, SAME.

    Attributes:
      features: G, of the output.
      size: k, side of the kernels.
      kernel_init: initializer of the kernel of each position, [k * k * F, G].
      bias_init: initializer of the biases.
      dtype: of the products. Parameters are float32 in any case.
    """

    features: int
    size: int
    kernel_init: Callable
    bias_init: Callable
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps f32 [B, h, w, F] -> dtype [B, h, w, G]."""
        pad = ((self.size - 1) // 2, self.size // 2)
        window = patches(x.astype(self.dtype), (self.size, self.size), (1, 1), (pad, pad))  # [B, h, w, k*k*F]
        kernel = self.param("kernel", self._kernels, (*window.shape[1:], self.features))
        bias = self.param("bias", self.bias_init, (*window.shape[1:3], self.features))
        return jnp.einsum("bhwp,hwpg->bhwg", window, kernel.astype(self.dtype)) + bias.astype(self.dtype)

    def _kernels(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Initializes each position by itself, so that the scale follows from the inputs of one position."""
        keys = jax.random.split(key, shape[0] * shape[1])
        return jax.vmap(lambda key: self.kernel_init(key, shape[2:], jnp.float32))(keys).reshape(shape)
