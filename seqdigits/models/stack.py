"""Stack: the module that creates and applies the layers of a layer specification (see layer_spec)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.core.errors import UserError
from seqdigits.models.batch_norm import MaskedBatchNorm
from seqdigits.models.convolution import convolve
from seqdigits.models.dropout import Dropout
from seqdigits.models.layer_spec import Layer, cumulative_strides
from seqdigits.models.local_conv import LocalConv
from seqdigits.models.ops import (
    depth_to_space,
    flatten,
    max_pool,
    maxout,
    space_to_depth,
    subtract_local_mean,
    upsample_nearest,
)
from seqdigits.models.recurrent_conv import RecurrentConv

KERNEL_INITS = {
    "lecun_normal": nn.initializers.lecun_normal(),  # Flax's default
    "glorot_uniform": nn.initializers.glorot_uniform(),  # Keras' default (Xavier)
    "he_normal": nn.initializers.he_normal(),  # keeps the scale of activations through ReLU (He et al. 2015)
    "truncated_normal": nn.initializers.truncated_normal(0.1),  # as in TensorFlow's tutorials of 2016
}
"""The allowed values of `model.kernel_init`.

The truncated normal has standard deviation 0.1 before it is cut at two standard deviations.
"""


COMPUTE_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
"""The allowed values of `model.compute_dtype`."""


class Base(nn.Module):
    """The base of all modules with weights: their initialization and what concerns training.

    Attributes:
      kernel_init: a key of KERNEL_INITS.
      bias_init: the initial value of biases.
      axis: name of the pmap axis that the batch is split over; None where the compiler splits the batch (jit).
      frozen: pattern of the parameters that are not trained, see params.matching.
      dtype: of activations and products, a value of COMPUTE_DTYPES. Parameters are float32 in any case.
    """

    kernel_init: str = "lecun_normal"
    bias_init: float = 0.0
    axis: str | None = None
    frozen: str = ""
    dtype: Any = jnp.float32

    @property
    def common(self) -> dict[str, Any]:
        """Returns these attributes as keyword arguments for a submodule."""
        names = ("kernel_init", "bias_init", "axis", "frozen", "dtype")
        return {name: getattr(self, name) for name in names}

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
      float32_output: whether the last layer is computed in float32, as the output layer of a head.
      remat: whether training keeps only the inputs of the blocks of `blocks`, and recomputes the activations within a
        block in the backward pass (Chen et al. 2016, arXiv:1604.06174).
    """

    layers: tuple[Layer, ...] = ()
    float32_output: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array) -> Array:
        """Applies the layers to x [B, ...] with mask bool [B] -> [B, ...] of `dtype`, or f32 with float32_output."""
        strides = cumulative_strides(self.layers)
        kept: dict[str, _KeptMap] = {}
        x = x.astype(self.dtype)

        def apply(stack: Stack, x: Array, mask: Array, block: range) -> Array:
            for i in block:
                layer, is_last = self.layers[i], i + 1 == len(self.layers)
                norm_follows = not is_last and self.layers[i + 1].kind == "norm"
                dtype = jnp.float32 if is_last and self.float32_output else self.dtype
                context = _LayerContext(stack, norm_follows, strides[i], kept, train, mask, dtype)
                x = _APPLY[layer.kind](x, layer, context)
            return x

        if not (self.remat and train):
            return apply(self, x, mask, range(len(self.layers)))
        for block in blocks(self.layers):
            # A kept map must not leave the function that computes it in the backward pass again.
            is_keep = self.layers[block[0]].kind == "keep"
            x = (apply if is_keep else nn.remat(apply, static_argnums=3))(self, x, mask, block)
        return x


def blocks(layers: tuple[Layer, ...]) -> list[range]:
    """Returns the blocks of layers, as ranges of their positions: a layer with a kernel, and what follows it.

    A `keep` is a block of its own.

    >>> from seqdigits.models.layer_spec import parse
    >>> blocks(parse("conv 3x3x8, norm, relu, keep a, conv 3x3x8, norm, add a, relu, mean, dense 9", "model.encoder"))
    [range(0, 3), range(3, 4), range(4, 9), range(9, 10)]
    """
    starts = [
        i
        for i, layer in enumerate(layers)
        if i == 0 or layer.kind in ("conv", "local", "recurrent", "dense", "keep") or layers[i - 1].kind == "keep"
    ]
    return [range(start, end) for start, end in pairwise([*starts, len(layers)])]


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
      dtype: of the result.
    """

    stack: Stack
    norm_follows: bool
    stride: int
    kept: dict[str, _KeptMap]
    train: bool
    mask: Array
    dtype: Any

    def common(self) -> dict[str, Any]:
        """Returns the initializers and the dtype as keyword arguments of a convolution or dense layer."""
        return {"kernel_init": self.stack.kernels(), "bias_init": self.stack.biases(), "dtype": self.dtype}

    def norm(self, x: Array, scale: bool = True) -> Array:
        """Applies a new batch norm."""
        norm = MaskedBatchNorm(scale, self.stack.axis, self.stack.frozen, dtype=self.dtype)
        return norm(x, train=self.train, mask=self.mask)


def _conv(x: Array, layer: Layer, context: _LayerContext) -> Array:
    return nn.Conv(
        layer.features,
        (layer.size, layer.size),
        layer.stride,
        padding=layer.padding,
        use_bias=not context.norm_follows,
        conv_general_dilated=convolve,
        **context.common(),
    )(x)


def _local(x: Array, layer: Layer, context: _LayerContext) -> Array:
    return LocalConv(layer.features, layer.size, **context.common())(x)


def _recurrent(x: Array, layer: Layer, context: _LayerContext) -> Array:
    return RecurrentConv(layer.features, layer.size, layer.steps, **context.common())(x)


def _dense(x: Array, layer: Layer, context: _LayerContext) -> Array:
    return nn.Dense(layer.features, use_bias=not context.norm_follows, **context.common())(flatten(x))


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
            f"The layer 'add {layer.name}' cannot project the kept map of {kept.shape[1]}x{kept.shape[2]} by stride "
            f"{factor} to {x.shape[1]}x{x.shape[2]}. Take out 'valid' between 'keep {layer.name}' and 'add {layer.name}'."
        )
    projection = nn.Conv(
        x.shape[-1], (1, 1), factor, use_bias=False, kernel_init=context.stack.kernels(), dtype=context.dtype
    )
    kept = projection(kept)
    return x + context.norm(kept)


_APPLY: dict[str, Callable[[Array, Layer, _LayerContext], Array]] = {
    "conv": _conv,
    "local": _local,
    "recurrent": _recurrent,
    "relu": lambda x, _layer, _context: nn.relu(x),
    "maxout": lambda x, layer, _context: maxout(x, layer.size),
    "subtract": lambda x, layer, _context: subtract_local_mean(x, layer.size),
    "norm": lambda x, layer, context: context.norm(x, layer.scale),
    "dropout": lambda x, layer, context: Dropout(layer.rate)(x, context.train),
    "pool": lambda x, layer, _context: max_pool(x, layer.size, layer.stride, layer.padding),
    "dense": _dense,
    "mean": lambda x, _layer, _context: jnp.mean(x, axis=(1, 2)),
    "max": lambda x, _layer, _context: jnp.max(x, axis=(1, 2)),
    "space_to_depth": lambda x, layer, _context: space_to_depth(x, layer.size),
    "depth_to_space": lambda x, layer, _context: depth_to_space(x, layer.size),
    "keep": _keep,
    "add": _add,
    "concat": _concat,
}
"""Applies a layer, by its kind.

These are functions, called in the scope of Stack, because a module per layer would rename the parameters.
"""
