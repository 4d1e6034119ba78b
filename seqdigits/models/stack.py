"""A stack of layers, from their text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.core.errors import UserError
from seqdigits.models.batch_norm import MaskedBatchNorm
from seqdigits.models.layer_spec import Layer, strides_along
from seqdigits.models.ops import convolve, enlarge, flatten, fold, max_pool, unfold

KERNEL_INITS = {
    "lecun_normal": nn.initializers.lecun_normal(),  # Flax's default
    "glorot_uniform": nn.initializers.glorot_uniform(),  # Keras' default (Xavier)
    "truncated_normal": nn.initializers.truncated_normal(0.1),  # of TensorFlow's tutorials of 2016
}
"""How kernels begin. The truncated normal has deviation 0.1 before the cut at two deviations."""


class Base(nn.Module):
    """Base of every module with weights: how they begin, and what they are trained over.

    Attributes:
      kernel_init: a key of KERNEL_INITS.
      bias_init: the constant that biases begin with.
      axis: name of the axis that the batch is split over under pmap; None where the compiler splits it.
      frozen: pattern of the parameters that are not trained, see params.matching.
    """

    kernel_init: str = "lecun_normal"
    bias_init: float = 0.0
    axis: str | None = None
    frozen: str = ""

    @property
    def common(self) -> dict[str, Any]:
        """These attributes, for a module within."""
        return {"kernel_init": self.kernel_init, "bias_init": self.bias_init, "axis": self.axis, "frozen": self.frozen}

    def kernels(self) -> Callable:
        return KERNEL_INITS[self.kernel_init]

    def biases(self) -> Callable:
        return nn.initializers.constant(self.bias_init)


class Stack(Base):
    """The layers one after another: [B, ...] -> [B, ...].

    Attributes:
      layers: from `parse`.
    """

    layers: tuple[Layer, ...] = ()

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array) -> Array:
        inits = {"kernel_init": self.kernels(), "bias_init": self.biases()}
        strides = strides_along(self.layers)
        marks: dict[str, Array] = {}
        stride_at: dict[str, int] = {}
        for i, layer in enumerate(self.layers):
            normed = i + 1 < len(self.layers) and self.layers[i + 1].kind == "norm"
            if layer.kind == "conv":
                x = nn.Conv(
                    layer.features,
                    (layer.size, layer.size),
                    layer.stride,
                    padding=layer.padding,
                    use_bias=not normed,
                    conv_general_dilated=convolve,
                    **inits,
                )(x)
            elif layer.kind == "relu":
                x = nn.relu(x)
            elif layer.kind == "norm":
                x = MaskedBatchNorm(layer.scale, self.axis, self.frozen)(x, train=train, mask=mask)
            elif layer.kind == "dropout":
                x = nn.Dropout(layer.rate)(x, deterministic=not train)
            elif layer.kind == "pool":
                x = max_pool(x, layer.size, layer.stride, layer.padding)
            elif layer.kind == "mean":
                x = jnp.mean(x, axis=(1, 2))
            elif layer.kind == "fold":
                x = fold(x, layer.size)
            elif layer.kind == "unfold":
                x = unfold(x, layer.size)
            elif layer.kind == "mark":
                marks[layer.name], stride_at[layer.name] = x, strides[i]
            elif layer.kind == "join":
                x = jnp.concatenate([marks[layer.name], enlarge(x, marks[layer.name].shape)], axis=-1)
            elif layer.kind == "add":
                times = strides[i] // stride_at[layer.name]
                x = x + self._as(x, marks[layer.name], times, train=train, mask=mask)
            else:
                x = nn.Dense(layer.features, use_bias=not normed, **inits)(flatten(x))
        return x

    def _as(self, x: Array, kept: Array, times: int, *, train: bool, mask: Array) -> Array:
        """The map that was kept, of a stride so many times smaller, in the shape of x.

        Raises:
          UserError: it is not to be had, for something was cut off in between.
        """
        if kept.shape == x.shape:
            return kept
        if tuple(-(-n // times) for n in kept.shape[1:3]) != x.shape[1:3]:
            raise UserError(
                f"model.encoder adds a map of {kept.shape[1]}x{kept.shape[2]} with {times} times the stride to one of "
                f"{x.shape[1]}x{x.shape[2]}: take out what cuts off in between ('valid')."
            )
        kept = nn.Conv(x.shape[-1], (1, 1), times, use_bias=False, kernel_init=self.kernels())(kept)
        return MaskedBatchNorm(axis=self.axis, frozen=self.frozen)(kept, train=train, mask=mask)
