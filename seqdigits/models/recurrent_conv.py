"""A recurrent convolution: a convolution of the input, and one of the state before, unrolled over a few steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.models.convolution import convolve
from seqdigits.models.ops import local_response_norm


class RecurrentConv(nn.Module):
    """A recurrent convolutional layer (Liang and Hu 2015, "Recurrent Convolutional Neural Network for Object Recognition", CVPR).

    x(0) = g(f(W u + b)), x(t) = g(f(W u + V x(t - 1) + b)) for t = 1, .., T, with ReLU f and the local response normalization g
    of the paper over G // 8 + 1 features (one more where that is even). W and V are shared by all steps, and W u is computed
    once. The output is x(T).

    Attributes:
      features: G, of the state.
      size: k, side of both kernels.
      steps: T.
      kernel_init: initializer of both kernels.
      bias_init: initializer of the bias.
      dtype: of the result. Parameters are float32 in any case.
    """

    features: int
    size: int
    steps: int
    kernel_init: Callable
    bias_init: Callable
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps u f32 [B, h, w, F] -> dtype [B, h, w, G]."""
        common = {"kernel_init": self.kernel_init, "dtype": self.dtype, "conv_general_dilated": convolve}
        sides = (self.size, self.size)
        given = nn.Conv(self.features, sides, bias_init=self.bias_init, name="input", **common)(x)
        of_state = nn.Conv(self.features, sides, use_bias=False, name="state", **common)
        window = norm_size(self.features)
        state = local_response_norm(nn.relu(given), window)
        for _ in range(self.steps):
            state = local_response_norm(nn.relu(given + of_state(state)), window)
        return state


def norm_size(features: int) -> int:
    """Returns the number of features that the local response normalization sums over, odd.

    >>> norm_size(96), norm_size(40), norm_size(8)
    (13, 7, 3)
    """
    size = features // 8 + 1
    return size + 1 - size % 2
