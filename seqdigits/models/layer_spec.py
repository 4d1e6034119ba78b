"""Parses layer specifications: `"conv 5x5x32, relu, pool 2, dense 128"` is a network, as written in a config.

| layer | meaning |
|---|---|
| `conv KxKxF` | convolution to F features, SAME; `/S` = stride S, `valid` = no padding |
| `local KxKxF` | the same with a kernel of its own at each position, SAME (locally connected) |
| `recurrent KxKxF xT` | recurrent convolution, unrolled T times: see recurrent_conv.RecurrentConv |
| `relu` | ReLU |
| `maxout P` | the largest of P features each: of F features, feature j is the largest of j, j + F/P, j + 2F/P .. (Goodfellow et al. 2013, arXiv:1302.4389) |
| `subtract P` | subtracts the mean of all features in the P x P window around a position, without what is beyond the edge (local subtractive normalization) |
| `norm` | batch norm with scale and shift, over the rows that are not padding; `norm shift` = shift only |
| `dropout R` | drops each activation with probability R in training (a published "keep p" is R = 1 - p) |
| `pool P` | P x P max pool of stride P, SAME; `/S` = stride S; `valid` = drops an incomplete last window |
| `dense F` | fully connected to F features; a feature map is flattened first |
| `mean`, `max` | global average or max pooling, which outputs flat features |
| `space_to_depth S` | moves each S x S block of positions into the features of one position: a stride without loss |
| `depth_to_space S` | the inverse (Shi et al. 2016, arXiv:1609.05158, section 3.2) |
| `keep NAME` | keeps the feature map under a name |
| `add NAME` | adds the kept map (residual); a map of another shape is projected by a 1x1 convolution with the missing stride and a `norm` (He et al. 2015, arXiv:1512.03385, section 3.3, option B) |
| `concat NAME` | upsamples the current map to the size of the kept, finer one, and concatenates both |

A convolution or dense layer has no bias where a `norm` follows directly, because the shift of the norm replaces it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from seqdigits.core.errors import UserError


@dataclass(frozen=True)
class Layer:
    """One parsed layer: `kind` is its first word; the other fields apply to some kinds only."""

    kind: str
    size: int = 0  # side of a kernel, window or block; number of features of a maxout unit
    features: int = 0
    stride: int = 1
    padding: str = "SAME"
    rate: float = 0.0
    scale: bool = True  # whether a norm has a scale
    name: str = ""  # of a kept map
    steps: int = 1  # of a recurrent convolution


_FORMS = {
    "conv": re.compile(r"conv (?P<size>\d+)x(?P=size)x(?P<features>\d+)( /(?P<stride>\d+))?(?P<valid> valid)?"),
    "local": re.compile(r"local (?P<size>\d+)x(?P=size)x(?P<features>\d+)"),
    "recurrent": re.compile(r"recurrent (?P<size>\d+)x(?P=size)x(?P<features>\d+) x(?P<steps>\d+)"),
    "relu": re.compile(r"relu"),
    "maxout": re.compile(r"maxout (?P<size>\d+)"),
    "subtract": re.compile(r"subtract (?P<size>\d+)"),
    "norm": re.compile(r"norm(?P<shift> shift)?"),
    "dropout": re.compile(r"dropout (?P<rate>0?\.\d+)"),
    "pool": re.compile(r"pool (?P<size>\d+)( /(?P<stride>\d+))?(?P<valid> valid)?"),
    "dense": re.compile(r"dense (?P<features>\d+)"),
    "mean": re.compile(r"mean"),
    "max": re.compile(r"max"),
    "space_to_depth": re.compile(r"space_to_depth (?P<size>\d+)"),
    "depth_to_space": re.compile(r"depth_to_space (?P<size>\d+)"),
    "keep": re.compile(r"keep (?P<name>\w+)"),
    "add": re.compile(r"add (?P<name>\w+)"),
    "concat": re.compile(r"concat (?P<name>\w+)"),
}
_MAP_LAYERS = (
    "conv",
    "local",
    "recurrent",
    "subtract",
    "pool",
    "mean",
    "max",
    "space_to_depth",
    "depth_to_space",
    "keep",
    "add",
    "concat",
)
"""Kinds of layers that need a feature map."""
FLAT = ("dense", "mean", "max")
"""Kinds of layers that output flat features."""
_EXAMPLES = (
    "conv 5x5x32, conv 3x3x32 /2, conv 3x3x32 valid, local 3x3x32, recurrent 3x3x32 x3, relu, maxout 2, subtract 3, norm, norm shift, dropout 0.5, "
    "pool 2, pool 3 /2, dense 128, mean, space_to_depth 2, depth_to_space 2, keep a, add a, concat a"
)


def parse(text: str, key: str, *, flat: bool = False) -> tuple[Layer, ...]:
    """Parses a layer specification; "" has no layers.

    Args:
      text: layers, separated by commas.
      key: config key of the text, for messages.
      flat: whether the input is flat features [B, F] and not a feature map [B, h, w, F].

    >>> parse("conv 5x5x32 /2, relu", "model.encoder")[0]
    Layer(kind='conv', size=5, features=32, stride=2, padding='SAME', rate=0.0, scale=True, name='', steps=1)

    Raises:
      UserError: a layer is unknown, has a zero, drops all activations, needs a feature map but gets flat features, repeats
        the name of a kept map, uses a name that is not kept before it, or has a stride that does not fit that of the kept map.
    """
    layers: list[Layer] = []
    kept_strides: dict[str, int] = {}
    for word in (" ".join(word.split()) for word in text.split(",") if word.strip()):
        layer = _parse_layer(word, key)
        if flat and layer.kind in _MAP_LAYERS:
            raise UserError(
                f"{key}: {word!r} needs a feature map and gets flat features. Put it before 'dense', 'mean' and 'max'."
            )
        flat = flat or layer.kind in FLAT
        stride = total_stride(tuple(layers))
        if layer.kind == "depth_to_space" and stride % layer.size:
            raise UserError(
                f"{key}: {word!r} does not divide the stride at this layer, {stride}. Use a divisor of {stride}."
            )
        if layer.kind == "keep":
            if layer.name in kept_strides:
                raise UserError(f"{key}: {word!r} occurs twice. Give each map its own name.")
            kept_strides[layer.name] = stride
        elif layer.name:
            if layer.name not in kept_strides:
                raise UserError(
                    f"{key}: {word!r} needs 'keep {layer.name}' before it. Kept maps are: "
                    f"{', '.join(kept_strides) or 'none'}."
                )
            if stride % kept_strides[layer.name]:
                raise UserError(
                    f"{key}: {word!r}: the stride at this layer, {stride}, is not a multiple of that of the kept map, "
                    f"{kept_strides[layer.name]}. Keep a finer map."
                )
        layers.append(layer)
    return tuple(layers)


def _parse_layer(word: str, key: str) -> Layer:
    kind = word.split(" ")[0]
    match = _FORMS[kind].fullmatch(word) if kind in _FORMS else None
    if match is None:
        raise UserError(f"{key}: {word!r} is not a layer. Allowed are, for example: {_EXAMPLES}.")
    fields = match.groupdict()
    size, features, steps = (int(fields.get(name) or 1) for name in ("size", "features", "steps"))
    stride = int(fields.get("stride") or (size if kind in ("pool", "space_to_depth") else 1))
    if 0 in (size, features, stride, steps) and kind not in ("keep", "add", "concat"):
        raise UserError(f"{key}: {word!r} has a zero. Sizes, features, strides and steps are at least 1.")
    rate = float(fields.get("rate") or 0)
    if rate == 1:
        raise UserError(f"{key}: {word!r} drops all activations, as float64 rounds it to 1. Use a smaller rate.")
    return Layer(
        kind=kind,
        size=size,
        features=features,
        stride=stride,
        padding="VALID" if fields.get("valid") else "SAME",
        rate=rate,
        scale=not fields.get("shift"),
        name=fields.get("name") or "",
        steps=steps,
    )


def output_size(layers: tuple[Layer, ...], height: int, width: int, key: str) -> tuple[int, int]:
    """Returns height and width of the feature map after the layers, for an input of `height` x `width`.

    Raises:
      UserError: a layer without padding is larger than its input, or a `space_to_depth` does not divide its input. The
        message names `key`.
    """
    kept = {}
    for layer in layers:
        if layer.kind in ("conv", "pool"):
            if layer.padding == "VALID" and min(height, width) < layer.size:
                raise UserError(
                    f"{key}: a 'valid' {layer.kind} of size {layer.size} is larger than its input, {height}x{width}. "
                    "Use a smaller one, or take out 'valid'."
                )
            cut = layer.size - 1 if layer.padding == "VALID" else 0
            height, width = (-(-(n - cut) // layer.stride) for n in (height, width))
        elif layer.kind == "space_to_depth":
            if height % layer.size or width % layer.size:
                raise UserError(
                    f"{key}: space_to_depth {layer.size} does not divide its input, {height}x{width}. "
                    "Change its size or the image size."
                )
            height, width = height // layer.size, width // layer.size
        elif layer.kind == "depth_to_space":
            height, width = height * layer.size, width * layer.size
        elif layer.kind == "keep":
            kept[layer.name] = height, width
        elif layer.kind == "concat":
            height, width = kept[layer.name]
    return height, width


def total_stride(layers: tuple[Layer, ...]) -> int:
    """Returns the stride of the feature map after the layers, in pixels of the image.

    >>> total_stride(parse("conv 5x5x16 /2, relu, pool 2", "model.encoder"))
    4
    >>> total_stride(parse("space_to_depth 2, keep a, conv 3x3x16 /2, concat a", "model.encoder"))
    2
    """
    return cumulative_strides(layers)[-1]


def largest_stride(layers: tuple[Layer, ...]) -> int:
    """Returns the largest stride of all feature maps between the layers, in pixels of the image.

    >>> largest_stride(parse("space_to_depth 2, keep a, conv 3x3x16 /2, concat a", "model.encoder"))
    4
    """
    return max(cumulative_strides(layers))


def cumulative_strides(layers: tuple[Layer, ...]) -> list[int]:
    """Returns the strides before the first layer and after each layer, in pixels of the image."""
    strides, kept = [1], {}
    for layer in layers:
        strides.append(strides[-1] * layer.stride)
        if layer.kind == "depth_to_space":
            strides[-1] //= layer.size
        elif layer.kind == "keep":
            kept[layer.name] = strides[-1]
        elif layer.kind == "concat":
            strides[-1] = kept[layer.name]
    return strides
