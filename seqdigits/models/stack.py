"""Stack: the module that creates and applies the layers of a layer specification (see layer_spec)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.core.errors import UserError
from seqdigits.models.batch_norm import MaskedBatchNorm
from seqdigits.models.layer_spec import Layer, cumulative_strides
from seqdigits.models.ops import convolve, depth_to_space, flatten, max_pool, space_to_depth, upsample_nearest

KERNEL_INITS = {
    "lecun_normal": nn.initializers.lecun_normal(),  # Flax's default
    "glorot_uniform": nn.initializers.glorot_uniform(),  # Keras' default (Xavier)
    "truncated_normal": nn.initializers.truncated_normal(0.1),  # as in TensorFlow's tutorials of 2016
}
"""The allowed values of `model.kernel_init`.

The truncated normal has standard deviation 0.1 before it is cut at two standard deviations.
"""


class Base(nn.Module):
    """The base of all modules with weights: their initialization and what concerns training.

    Attributes:
      kernel_init: a key of KERNEL_INITS.
      bias_init: the initial value of biases.
      axis: name of the pmap axis that the batch is split over; None where the compiler splits the batch (jit).
      frozen: pattern of the parameters that are not trained, see params.matching.
    """

    kernel_init: str = "lecun_normal"
    bias_init: float = 0.0
    axis: str | None = None
    frozen: str = ""

    @property
    def common(self) -> dict[str, Any]:
        """Returns these attributes as keyword arguments for a submodule."""
        return {"kernel_init": self.kernel_init, "bias_init": self.bias_init, "axis": self.axis, "frozen": self.frozen}

    def kernels(self) -> Callable:
        """Returns the initializer of kernels."""
        return KERNEL_INITS[self.kernel_init]

    def biases(self) -> Callable:
        """Returns the initializer of biases."""
        return nn.initializers.constant(self.bias_init)


class Stack(Base):
    """The layers of a layer specification, applied one after another.

    Attributes:
      layers: from layer_spec.parse.
    """

    layers: tuple[Layer, ...] = ()

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array) -> Array:
        """Applies the layers to x f32 [B, ...] with mask bool [B] -> f32 [B, ...]."""
        strides = cumulative_strides(self.layers)
        kept: dict[str, _KeptMap] = {}
        for i, layer in enumerate(self.layers):
            norm_follows = i + 1 < len(self.layers) and self.layers[i + 1].kind == "norm"
            x = _APPLY[layer.kind](x, layer, _LayerContext(self, norm_follows, strides[i], kept, train, mask))
        return x


class _KeptMap(NamedTuple):
    """A kept feature map and its stride, in pixels of the image."""

    x: Array
    stride: int


class _LayerContext(NamedTuple):
    """The arguments of a layer other than its input.

    Attributes:
      stack: the module in whose scope the layer's submodules are created. Flax names them in the order of their
        creation, and the names seed their initial values.
      norm_follows: whether the next layer is a norm, whose shift replaces a bias.
      stride: of the layer's input, in pixels of the image.
      kept: the maps kept so far, by name.
      train: as in Stack.
      mask: as in Stack.
    """

    stack: Stack
    norm_follows: bool
    stride: int
    kept: dict[str, _KeptMap]
    train: bool
    mask: Array

    def inits(self) -> dict[str, Any]:
        """Returns the initializers as keyword arguments of a convolution or dense layer."""
        return {"kernel_init": self.stack.kernels(), "bias_init": self.stack.biases()}

    def norm(self, x: Array, scale: bool = True) -> Array:
        """Applies a new batch norm."""
        return MaskedBatchNorm(scale, self.stack.axis, self.stack.frozen)(x, train=self.train, mask=self.mask)


def _conv(x: Array, layer: Layer, context: _LayerContext) -> Array:
    return nn.Conv(
        layer.features,
        (layer.size, layer.size),
        layer.stride,
        padding=layer.padding,
        use_bias=not context.norm_follows,
        conv_general_dilated=convolve,
        **context.inits(),
    )(x)


def _dense(x: Array, layer: Layer, context: _LayerContext) -> Array:
    return nn.Dense(layer.features, use_bias=not context.norm_follows, **context.inits())(flatten(x))


def _keep(x: Array, layer: Layer, context: _LayerContext) -> Array:
    context.kept[layer.name] = _KeptMap(x, context.stride)
    return x


def _concat(x: Array, layer: Layer, context: _LayerContext) -> Array:
    finer = context.kept[layer.name].x
    return jnp.concatenate([finer, upsample_nearest(x, finer.shape)], axis=-1)


def _add(x: Array, layer: Layer, context: _LayerContext) -> Array:
    """Adds the kept map, and projects it first if it has another shape.

    Raises:
      UserError: no stride brings the kept map to the size of x, because a layer without padding lies between.
    """
    kept, stride = context.kept[layer.name]
    if kept.shape == x.shape:
        return x + kept
    factor = context.stride // stride
    if tuple(-(-n // factor) for n in kept.shape[1:3]) != x.shape[1:3]:
        raise UserError(
            f"model.encoder: 'add {layer.name}' cannot project the kept map of {kept.shape[1]}x{kept.shape[2]} by stride "
            f"{factor} to {x.shape[1]}x{x.shape[2]}. Take out 'valid' between 'keep {layer.name}' and 'add {layer.name}'."
        )
    kept = nn.Conv(x.shape[-1], (1, 1), factor, use_bias=False, kernel_init=context.stack.kernels())(kept)
    return x + context.norm(kept)


_APPLY: dict[str, Callable[[Array, Layer, _LayerContext], Array]] = {
    "conv": _conv,
    "relu": lambda x, _layer, _context: nn.relu(x),
    "norm": lambda x, layer, context: context.norm(x, layer.scale),
    "dropout": lambda x, layer, context: nn.Dropout(layer.rate)(x, deterministic=not context.train),
    "pool": lambda x, layer, _context: max_pool(x, layer.size, layer.stride, layer.padding),
    "dense": _dense,
    "mean": lambda x, _layer, _context: jnp.mean(x, axis=(1, 2)),
    "space_to_depth": lambda x, layer, _context: space_to_depth(x, layer.size),
    "depth_to_space": lambda x, layer, _context: depth_to_space(x, layer.size),
    "keep": _keep,
    "add": _add,
    "concat": _concat,
}
"""Applies a layer, by its kind.

These are functions, called in the scope of Stack, because a module per layer would rename the parameters.
"""
