"""Pixel normalization and the layers of models/stack.py as ONNX operators, on feature maps [B, F, h, w], for inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from seqdigits.core.errors import UserError
from seqdigits.export.onnx_graph import OnnxGraph
from seqdigits.models.batch_norm import MaskedBatchNorm
from seqdigits.models.layer_spec import Layer, cumulative_strides
from seqdigits.models.recurrent_conv import norm_size


def add_normalization(graph: OnnxGraph, image: str, kind: str, input_stats: dict[str, np.ndarray]) -> str:
    """Adds the pixel normalization: u8 [B, H, W, C] -> f32 [B, C, H, W].

    Args:
      graph: that it is added to.
      image: the input.
      kind: see models.pixels.PixelNormalization.
      input_stats: its variables, f32 [H, W, C] each; empty unless kind = per_pixel.
    """
    x = graph.cast(graph.op("Transpose", image, perm=[0, 3, 1, 2]), np.float32)
    if kind == "raw":
        return x
    if kind == "per_pixel":
        offset, deviation = (input_stats[name].transpose(2, 0, 1) for name in ("mean", "deviation"))
        return graph.op("Div", graph.op("Sub", x, offset), np.maximum(deviation, np.float32(1)))
    x = graph.op("Div", x, np.float32(255))
    if kind == "unit":
        return x
    mean = x
    for axis in (3, 2, 1):  # one after the other: over 500,000 values at once, ONNX Runtime is off by 0.0001
        mean = graph.op("ReduceMean", mean, np.array([axis]))
    return graph.op("Sub", x, mean)


def add_flattening(graph: OnnxGraph, x: str) -> str:
    """Adds models.ops.flatten of a feature map: f32 [B, F, h, w] -> [B, h*w*F]."""
    return graph.op("Reshape", graph.op("Transpose", x, perm=[0, 2, 3, 1]), np.array([0, -1]))


@dataclass
class OnnxStack:
    """Adds the layers of a Stack to a graph.

    Attributes:
      graph: that they are added to.
      variables: params and batch_stats of the Stack, numpy.
      dtype: in which the file stores kernels.
      flat: whether the features are flat, [B, F]: those of the input, and then those of the output.
    """

    graph: OnnxGraph
    variables: dict[str, Any]
    dtype: type[np.floating]
    flat: bool = False
    _used: dict[str, int] = field(default_factory=dict)
    _kept: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def apply(self, x: str, features: int, layers: tuple[Layer, ...]) -> tuple[str, int]:
        """Adds layers.

        Args:
          x: f32 [B, F, H, W], or [B, F] if `flat`. With a layer `concat`, H and W are multiples of layer_spec.largest_stride.
          features: F of a feature map; that of flat features is not used.
          layers: of the Stack.

        Returns:
          The output and the number of its features.

        Raises:
          UserError: a layer cannot be exported.
        """
        if {"concat", "add"} & {layer.kind for layer in layers} and "VALID" in {layer.padding for layer in layers}:
            raise UserError(
                "model.encoder: 'add' and 'concat' cannot be exported to ONNX beside a layer without padding. Take out 'valid'."
            )
        strides = cumulative_strides(layers)
        i = 0
        while i < len(layers):
            layer = layers[i]
            if layer.kind in ("conv", "dense"):
                has_norm = i + 1 < len(layers) and layers[i + 1].kind == "norm"
                x, features = (self._conv if layer.kind == "conv" else self._dense)(x, layer, has_norm)
                i += has_norm
            else:
                x, features = _ADD[layer.kind](self, x, features, layer, strides[i])
            i += 1
        return x, features

    def _take(self, kind: str) -> dict[str, Any]:
        """Returns the variables of the next submodule of a kind, which Flax numbers in the order of their creation."""
        number = self._used.get(kind, 0)
        self._used[kind] = number + 1
        name = f"{kind}_{number}"
        return {
            key: jax.tree.map(lambda x: np.asarray(x, np.float32), value)
            for collection in ("params", "batch_stats")
            for key, value in self.variables[collection].get(name, {}).items()
        }

    def _norm_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns factor and shift of the next batch norm, f32 [F]."""
        values = self._take("MaskedBatchNorm")
        factor = values.get("scale", np.float32(1)) / np.sqrt(values["var"] + np.float32(MaskedBatchNorm.epsilon))
        return factor, values["bias"] - values["mean"] * factor

    def _conv(self, x: str, layer: Layer, has_norm: bool) -> tuple[str, int]:
        """Adds a convolution, and the norm that follows it, as a factor of its kernel, which a runtime multiplies only once."""
        values = self._take("Conv")
        kernel = self.graph.weights(values["kernel"].transpose(3, 2, 0, 1), self.dtype)  # [G, F, k, k]
        if has_norm:
            factor, bias = self._norm_factors()
            kernel = self.graph.op("Mul", kernel, factor[:, None, None, None])
        else:
            bias = values["bias"]
        x = self.graph.op(
            "Conv",
            x,
            kernel,
            bias,
            kernel_shape=[layer.size, layer.size],
            strides=[layer.stride, layer.stride],
            auto_pad="VALID" if layer.padding == "VALID" else "SAME_UPPER",  # as XLA: the odd row at the end
        )
        return x, layer.features

    def _dense(self, x: str, layer: Layer, has_norm: bool) -> tuple[str, int]:
        """Adds a dense layer, and the norm that follows it, as `_conv` does."""
        if not self.flat:
            x, self.flat = add_flattening(self.graph, x), True
        values = self._take("Dense")
        kernel = self.graph.weights(values["kernel"], self.dtype)
        if has_norm:
            factor, bias = self._norm_factors()
            kernel = self.graph.op("Mul", kernel, factor)
        else:
            bias = values["bias"]
        return self.graph.op("Gemm", x, kernel, bias), layer.features

    def _local(self, x: str, _features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        """Adds models.local_conv.LocalConv as a matrix product at each position, over the shifted feature maps."""
        values, op = self._take("LocalConv"), self.graph.op
        height, width, _, _ = values["kernel"].shape
        before, after = (layer.size - 1) // 2, layer.size // 2
        x = op("Pad", op("Transpose", x, perm=[0, 2, 3, 1]), np.array([0, before, before, 0, 0, after, after, 0]))
        axes = np.array([1, 2])
        parts = [
            op("Slice", x, np.array([i, j]), np.array([i + height, j + width]), axes)
            for i in range(layer.size)
            for j in range(layer.size)
        ]
        window = op("Unsqueeze", op("Concat", *parts, axis=3), np.array([3]))  # [B, h, w, 1, k*k*F]
        x = op("MatMul", window, self.graph.weights(values["kernel"], self.dtype))
        x = op("Add", op("Squeeze", x, np.array([3])), values["bias"])
        return op("Transpose", x, perm=[0, 3, 1, 2]), layer.features

    def _recurrent(self, x: str, _features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        """Adds models.recurrent_conv.RecurrentConv."""
        values, op = self._take("RecurrentConv"), self.graph.op
        kernels = {
            name: self.graph.weights(values[name]["kernel"].transpose(3, 2, 0, 1), self.dtype)
            for name in ("input", "state")
        }
        norm = {"size": norm_size(layer.features), "alpha": 0.001, "beta": 0.75, "bias": 1.0}
        given = op("Conv", x, kernels["input"], values["input"]["bias"], auto_pad="SAME_UPPER")
        x = op("LRN", op("Relu", given), **norm)
        for _ in range(layer.steps):
            x = op("LRN", op("Relu", op("Add", given, op("Conv", x, kernels["state"], auto_pad="SAME_UPPER"))), **norm)
        return x, layer.features

    def _maxout(self, x: str, features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        parts = self.graph.split("Split", layer.size, x, axis=1, num_outputs=layer.size)
        return self.graph.op("Max", *parts), features // layer.size

    def _subtract(self, x: str, features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        mean = self.graph.op("ReduceMean", x, np.array([1]))
        mean = self.graph.op("AveragePool", mean, kernel_shape=[layer.size, layer.size], auto_pad="SAME_UPPER")
        return self.graph.op("Sub", x, mean), features

    def _global_pool(self, x: str, features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        self.flat = True
        kind = "ReduceMean" if layer.kind == "mean" else "ReduceMax"
        return self.graph.op(kind, x, np.array([2, 3]), keepdims=0), features

    def _norm(self, x: str, features: int, _layer: Layer, _stride: int) -> tuple[str, int]:
        factor, shift = (value if self.flat else value[:, None, None] for value in self._norm_factors())
        return self.graph.op("Add", self.graph.op("Mul", x, factor), shift), features

    def _pool(self, x: str, features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        x = self.graph.op(
            "MaxPool",
            x,
            kernel_shape=[layer.size, layer.size],
            strides=[layer.stride, layer.stride],
            auto_pad="VALID" if layer.padding == "VALID" else "SAME_UPPER",
        )
        return x, features

    def _space_to_depth(self, x: str, features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        return self.graph.op("SpaceToDepth", x, blocksize=layer.size), features * layer.size**2

    def _depth_to_space(self, x: str, features: int, layer: Layer, _stride: int) -> tuple[str, int]:
        return self.graph.op("DepthToSpace", x, blocksize=layer.size, mode="DCR"), features // layer.size**2

    def _keep(self, x: str, features: int, layer: Layer, stride: int) -> tuple[str, int]:
        self._kept[layer.name] = x, features, stride
        return x, features

    def _add(self, x: str, features: int, layer: Layer, stride: int) -> tuple[str, int]:
        kept, kept_features, kept_stride = self._kept[layer.name]
        if (kept_features, kept_stride) != (features, stride):
            projection = Layer("conv", size=1, features=features, stride=stride // kept_stride)
            kept, _ = self._conv(kept, projection, has_norm=True)
        return self.graph.op("Add", x, kept), features

    def _concat(self, x: str, features: int, layer: Layer, stride: int) -> tuple[str, int]:
        kept, kept_features, kept_stride = self._kept[layer.name]
        factor = stride // kept_stride
        if factor > 1:
            x = self.graph.op(
                "Resize",
                x,
                "",
                np.array([1, 1, factor, factor], np.float32),
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        return self.graph.op("Concat", kept, x, axis=1), kept_features + features


_ADD: dict[str, Callable[[OnnxStack, str, int, Layer, int], tuple[str, int]]] = {
    "local": OnnxStack._local,
    "recurrent": OnnxStack._recurrent,
    "maxout": OnnxStack._maxout,
    "subtract": OnnxStack._subtract,
    "norm": OnnxStack._norm,
    "relu": lambda stack, x, features, _layer, _stride: (stack.graph.op("Relu", x), features),
    "dropout": lambda _stack, x, features, _layer, _stride: (x, features),
    "pool": OnnxStack._pool,
    "mean": OnnxStack._global_pool,
    "max": OnnxStack._global_pool,
    "space_to_depth": OnnxStack._space_to_depth,
    "depth_to_space": OnnxStack._depth_to_space,
    "keep": OnnxStack._keep,
    "add": OnnxStack._add,
    "concat": OnnxStack._concat,
}
