"""A stack of layers, from their text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.core.errors import UserError
from seqdigits.models.batch_norm import MaskedBatchNorm
from seqdigits.models.layer_spec import Layer, strides_along
from seqdigits.models.ops import convolve, depth_to_space, flatten, max_pool, space_to_depth, upsample_nearest

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
        """x f32 [B, ...], mask bool [B] -> f32 [B, ...]."""
        strides = strides_along(self.layers)
        kept: dict[str, _KeptMap] = {}
        for i, layer in enumerate(self.layers):
            normed = i + 1 < len(self.layers) and self.layers[i + 1].kind == "norm"
            x = _APPLY[layer.kind](x, layer, _Place(self, normed, strides[i], kept, train, mask))
        return x


class _KeptMap(NamedTuple):
    """A feature map that was kept, and its stride."""

    x: Array
    stride: int


class _Place(NamedTuple):
    """Where a layer stands.

    Attributes:
      stack: the module that it is created in. Its modules are named by the order of their creation, which seeds them.
      normed: whether a norm follows, whose shift makes a bias useless.
      stride: pixels of the image in one step of the layer's input.
      kept: the feature maps that were kept so far, by name.
      train, mask: as of Stack.
    """

    stack: Stack
    normed: bool
    stride: int
    kept: dict[str, _KeptMap]
    train: bool
    mask: Array

    def inits(self) -> dict[str, Any]:
        return {"kernel_init": self.stack.kernels(), "bias_init": self.stack.biases()}

    def norm(self, x: Array, scale: bool = True) -> Array:
        return MaskedBatchNorm(scale, self.stack.axis, self.stack.frozen)(x, train=self.train, mask=self.mask)


def _conv(x: Array, layer: Layer, at: _Place) -> Array:
    return nn.Conv(
        layer.features,
        (layer.size, layer.size),
        layer.stride,
        padding=layer.padding,
        use_bias=not at.normed,
        conv_general_dilated=convolve,
        **at.inits(),
    )(x)


def _dense(x: Array, layer: Layer, at: _Place) -> Array:
    return nn.Dense(layer.features, use_bias=not at.normed, **at.inits())(flatten(x))


def _keep(x: Array, layer: Layer, at: _Place) -> Array:
    at.kept[layer.name] = _KeptMap(x, at.stride)
    return x


def _concat(x: Array, layer: Layer, at: _Place) -> Array:
    finer = at.kept[layer.name].x
    return jnp.concatenate([finer, upsample_nearest(x, finer.shape)], axis=-1)


def _add(x: Array, layer: Layer, at: _Place) -> Array:
    """Adds the map that was kept; one of another shape is projected first.

    Raises:
      UserError: no stride brings it to this size, for something was cut off in between.
    """
    kept, stride = at.kept[layer.name]
    if kept.shape == x.shape:
        return x + kept
    times = at.stride // stride
    if tuple(-(-n // times) for n in kept.shape[1:3]) != x.shape[1:3]:
        raise UserError(
            f"model.encoder adds a map of {kept.shape[1]}x{kept.shape[2]} with {times} times the stride to one of "
            f"{x.shape[1]}x{x.shape[2]}: take out what cuts off in between ('valid')."
        )
    kept = nn.Conv(x.shape[-1], (1, 1), times, use_bias=False, kernel_init=at.stack.kernels())(kept)
    return x + at.norm(kept)


_APPLY: dict[str, Callable[[Array, Layer, _Place], Array]] = {
    "conv": _conv,
    "relu": lambda x, layer, at: nn.relu(x),
    "norm": lambda x, layer, at: at.norm(x, layer.scale),
    "dropout": lambda x, layer, at: nn.Dropout(layer.rate)(x, deterministic=not at.train),
    "pool": lambda x, layer, at: max_pool(x, layer.size, layer.stride, layer.padding),
    "dense": _dense,
    "mean": lambda x, layer, at: jnp.mean(x, axis=(1, 2)),
    "space_to_depth": lambda x, layer, at: space_to_depth(x, layer.size),
    "depth_to_space": lambda x, layer, at: depth_to_space(x, layer.size),
    "keep": _keep,
    "add": _add,
    "concat": _concat,
}
"""What a layer of each kind does. Functions, called in the scope of Stack: a module of their own would rename parameters."""
