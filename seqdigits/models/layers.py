"""Stacks of layers written as text: `"conv 5x5x32, relu, pool 2, dense 128"` is the network, as it stands in a config.

| word | means |
|---|---|
| `conv KxKxF` | convolution to F features, SAME; `/S` = stride S, `valid` = no padding |
| `relu` | ReLU |
| `norm` | batch norm over the rows that are not padding, with scale and shift; `norm shift` = without scale |
| `dropout R` | drops each number with probability R in training (a published "keep p" is R = 1 - p) |
| `pool P` | P x P max pool of stride P, SAME; `/S` = stride S; `valid` = what is left of the last window is dropped |
| `dense F` | fully connected to F features; a feature map is flattened before |
| `mean` | the mean over all places of a feature map, which leaves flat features |
| `fold S` | each square of S x S places becomes one place with all their features: a stride that loses nothing |
| `unfold S` | the reverse: the features of each place become a square of S x S places (Shi et al. 2016, arXiv:1609.05158, section 3.2) |
| `mark NAME` | keeps the feature map as it is here |
| `add NAME` | adds the map that was kept; where it is of another shape, brought to this one by a convolution 1x1 with its stride and a `norm` (He et al. 2015, arXiv:1512.03385, section 3.3, option B) |
| `join NAME` | the finer map that was kept, and this one enlarged to it, side by side: scales are joined, the cells are those of the finer map |

A convolution or dense layer has no bias where a `norm` follows at once, for the norm's shift does the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.errors import UserError

KERNEL_INITS = {
    "lecun_normal": nn.initializers.lecun_normal(),  # Flax's default
    "glorot_uniform": nn.initializers.glorot_uniform(),  # Keras' default (Xavier)
    "truncated_normal": nn.initializers.truncated_normal(0.1),  # of TensorFlow's tutorials of 2016
}
"""How kernels begin. The truncated normal has deviation 0.1 before the cut at two deviations."""


@dataclass(frozen=True)
class Layer:
    """One parsed layer: `kind` is its word, the rest what that kind needs."""

    kind: str
    size: int = 0  # side of a kernel or pool
    features: int = 0
    stride: int = 1
    padding: str = "SAME"
    rate: float = 0.0
    scale: bool = True  # whether a norm has one
    name: str = ""  # of a map that is kept


_FORMS = {
    "conv": re.compile(r"conv (?P<size>\d+)x(?P=size)x(?P<features>\d+)( /(?P<stride>\d+))?(?P<valid> valid)?"),
    "relu": re.compile(r"relu"),
    "norm": re.compile(r"norm(?P<shift> shift)?"),
    "dropout": re.compile(r"dropout (?P<rate>0?\.\d+)"),
    "pool": re.compile(r"pool (?P<size>\d+)( /(?P<stride>\d+))?(?P<valid> valid)?"),
    "dense": re.compile(r"dense (?P<features>\d+)"),
    "mean": re.compile(r"mean"),
    "fold": re.compile(r"fold (?P<size>\d+)"),
    "unfold": re.compile(r"unfold (?P<size>\d+)"),
    "mark": re.compile(r"mark (?P<name>\w+)"),
    "add": re.compile(r"add (?P<name>\w+)"),
    "join": re.compile(r"join (?P<name>\w+)"),
}
_OF_MAPS = ("conv", "pool", "mean", "fold", "unfold", "mark", "add", "join")
"""Layers that need a feature map."""
FLAT = ("dense", "mean")
"""Layers that leave none."""
_EXAMPLES = (
    "conv 5x5x32, conv 3x3x32 /2, conv 3x3x32 valid, relu, norm, norm shift, dropout 0.5, pool 2, pool 3 /2, dense 128, "
    "mean, fold 2, unfold 2, mark a, add a, join a"
)


def parse(text: str, key: str, *, flat: bool = False) -> tuple[Layer, ...]:
    """The layers of a stack; "" has none. `flat`: it gets features [B, F], not a feature map.

    >>> parse("conv 5x5x32 /2, relu", "model.encoder")[0]
    Layer(kind='conv', size=5, features=32, stride=2, padding='SAME', rate=0.0, scale=True, name='')

    Raises:
      UserError: naming `key`, the word that is not understood or that needs a feature map where there is none any more.
    """
    layers: list[Layer] = []
    marks: dict[str, int] = {}  # stride at each
    for word in (" ".join(word.split()) for word in text.split(",") if word.strip()):
        layer = _parse_layer(word, key)
        if flat and layer.kind in _OF_MAPS:
            raise UserError(
                f"{key}: {word!r} needs a feature map, and here are flat features. Put it before what is dense."
            )
        flat = flat or layer.kind in FLAT
        stride = total_stride(tuple(layers))
        if layer.kind == "unfold" and stride % layer.size:
            raise UserError(f"{key}: {word!r}: the stride here, {stride}, is no multiple of it.")
        if layer.kind == "mark":
            if layer.name in marks:
                raise UserError(f"{key}: {word!r} stands there twice. Give each map a name of its own.")
            marks[layer.name] = stride
        elif layer.name:
            if layer.name not in marks:
                raise UserError(
                    f"{key}: {word!r} needs 'mark {layer.name}' before it. Marked are: {', '.join(marks) or 'none'}."
                )
            if stride % marks[layer.name]:
                raise UserError(
                    f"{key}: {word!r}: the stride here, {stride}, is no multiple of the one at the mark, {marks[layer.name]}."
                )
        layers.append(layer)
    return tuple(layers)


def _parse_layer(word: str, key: str) -> Layer:
    kind = word.split(" ")[0]
    match = _FORMS[kind].fullmatch(word) if kind in _FORMS else None
    if match is None:
        raise UserError(f"{key}: {word!r} is not a layer. Allowed are, for example: {_EXAMPLES}.")
    found = match.groupdict()
    size, features = (int(found.get(name) or 1) for name in ("size", "features"))
    stride = int(found.get("stride") or (size if kind in ("pool", "fold") else 1))
    if 0 in (size, features, stride) and kind in ("conv", "pool", "dense", "fold", "unfold"):
        raise UserError(f"{key}: {word!r} has a zero; sizes, features and strides are at least 1.")
    return Layer(
        kind=kind,
        size=size,
        features=features,
        stride=stride,
        padding="VALID" if found.get("valid") else "SAME",
        rate=float(found.get("rate") or 0),
        scale=not found.get("shift"),
        name=found.get("name") or "",
    )


def output_size(layers: tuple[Layer, ...], height: int, width: int, key: str) -> tuple[int, int]:
    """h, w of the feature map after convolutions and pools.

    Raises:
      UserError: a VALID layer finds less than its own size, or a `fold` a size that it does not divide.
    """
    marks = {}
    for layer in layers:
        if layer.kind in ("conv", "pool"):
            if layer.padding == "VALID" and min(height, width) < layer.size:
                raise UserError(f"{key}: a {layer.kind} of size {layer.size} without padding meets {height}x{width}.")
            cut = layer.size - 1 if layer.padding == "VALID" else 0
            height, width = (-(-(n - cut) // layer.stride) for n in (height, width))
        elif layer.kind == "fold":
            if height % layer.size or width % layer.size:
                raise UserError(f"{key}: fold {layer.size} does not divide {height}x{width}.")
            height, width = height // layer.size, width // layer.size
        elif layer.kind == "unfold":
            height, width = height * layer.size, width * layer.size
        elif layer.kind == "mark":
            marks[layer.name] = height, width
        elif layer.kind == "join":
            height, width = marks[layer.name]
    return height, width


def total_stride(layers: tuple[Layer, ...]) -> int:
    """Pixels of the image that one step on the feature map is.

    >>> total_stride(parse("conv 5x5x16 /2, relu, pool 2", "model.encoder"))
    4
    >>> total_stride(parse("fold 2, mark a, conv 3x3x16 /2, join a", "model.encoder"))
    2
    """
    return _strides(layers)[-1]


def largest_stride(layers: tuple[Layer, ...]) -> int:
    """The largest that there is on the way.

    >>> largest_stride(parse("fold 2, mark a, conv 3x3x16 /2, join a", "model.encoder"))
    4
    """
    return max(_strides(layers))


def _strides(layers: tuple[Layer, ...]) -> list[int]:
    """Pixels of the image that one step is, before the first layer and after each."""
    strides, marks = [1], {}
    for layer in layers:
        strides.append(strides[-1] * layer.stride)  # 1 of what has none
        if layer.kind == "unfold":
            strides[-1] //= layer.size
        elif layer.kind == "mark":
            marks[layer.name] = strides[-1]
        elif layer.kind == "join":
            strides[-1] = marks[layer.name]
    return strides


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
        strides = _strides(self.layers)
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


def fold(x: Array, size: int) -> Array:
    """[B, H, W, F] -> [B, H/size, W/size, size*size*F]."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, features)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // size, width // size, -1)


def unfold(x: Array, size: int) -> Array:
    """[B, h, w, size*size*F] -> [B, h*size, w*size, F], the reverse of `fold`.

    Raises:
      UserError: the features cannot be shared out.
    """
    batch, h, w, features = x.shape
    if features % size**2:
        raise UserError(
            f"unfold {size} needs features that {size**2} divides, and finds {features}. Change what is before it."
        )
    x = x.reshape(batch, h, w, size, size, features // size**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, h * size, w * size, -1)


def enlarge(x: Array, shape: tuple[int, ...]) -> Array:
    """[B, h, w, F] -> [B, H, W, F] with H, W of `shape` [B, H, W, _]: each place repeated, what goes beyond cut off."""
    times = -(-shape[1] // x.shape[1]), -(-shape[2] // x.shape[2])
    batch, h, w, features = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, h, times[0], w, times[1], features))
    return x.reshape(batch, h * times[0], w * times[1], features)[:, : shape[1], : shape[2]]


def flatten(x: Array) -> Array:
    """A feature map [B, h, w, F] as [B, h*w*F]; [B, F] as it is."""
    return x.reshape(x.shape[0], -1)


def convolve(
    x: Array, kernel: Array, stride: tuple[int, int], padding: Any, *, precision: Any = None, **kwargs: Any
) -> Array:
    """`lax.conv_general_dilated`, as nn.Conv calls it, of f32 [B, H, W, F] and f32 [k, k, F, G]; not dilated, not grouped.

    Where the result has fewer places than the kernel, it is a product of matrices, each place with all that the kernel covers
    there: XLA on the CPU takes such a map for the kernel, which makes it and its gradient ten to a hundred times slower.
    """
    size = kernel.shape[0]
    height, width = (-(-n // s) for n, s in zip(x.shape[1:3], stride, strict=True))
    if padding != "SAME" or height * width >= size**2:
        return jax.lax.conv_general_dilated(x, kernel, stride, padding, precision=precision, **kwargs)
    around = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], stride, padding)
    x = jnp.pad(x, ((0, 0), *around, (0, 0)))
    rows, columns = ((n - 1) * s + 1 for n, s in zip((height, width), stride, strict=True))
    covered = [x[:, i : i + rows : stride[0], j : j + columns : stride[1]] for i in range(size) for j in range(size)]
    return jnp.matmul(jnp.concatenate(covered, -1), kernel.reshape(-1, kernel.shape[-1]), precision=precision)


def max_pool(x: Array, size: int, stride: int, padding: str) -> Array:
    """size x size max pool: f32 [B, H, W, F] -> [B, h, w, F].

    Where windows do not overlap, as reshape and max, which is faster on the CPU than a window reduction, and which every
    exporter knows.
    """
    if stride != size:
        return nn.max_pool(x, (size, size), (stride, stride), padding)
    batch, height, width, features = x.shape
    if padding == "SAME":
        down, right = -height % size, -width % size
        above, left = down // 2, right // 2  # as XLA pads: the odd one at the end
        x = jnp.pad(x, ((0, 0), (above, down - above), (left, right - left), (0, 0)), constant_values=-jnp.inf)
    else:
        x = x[:, : height - height % size, : width - width % size]
    h, w = x.shape[1] // size, x.shape[2] // size
    return x.reshape(batch, h, size, w, size, features).max((2, 4))


class MaskedBatchNorm(nn.Module):
    """Batch norm (Ioffe and Szegedy 2015, section 3) over all axes but the last, counting only rows that are not padding.

    Sums and counts are taken apart, so that a batch split over devices normalises as one. Flax's own divides by the
    padded count.

    Attributes:
      use_scale: whether the normalised numbers are multiplied by a trained scale before the trained shift is added.
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
