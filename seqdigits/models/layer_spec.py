"""Parses layers written as text: `"conv 5x5x32, relu, pool 2, dense 128"` is a network, as it appears in a config.

| word | means |
|---|---|
| `conv KxKxF` | convolution to F features, SAME; `/S` = stride S, `valid` = no padding |
| `relu` | ReLU |
| `norm` | batch norm over the rows that are not padding, with scale and shift; `norm shift` = shift only |
| `dropout R` | drops each activation with probability R in training (a published "keep p" is R = 1 - p) |
| `pool P` | P x P max pool of stride P, SAME; `/S` = stride S; `valid` = drops an incomplete last window |
| `dense F` | fully connected to F features; a feature map is flattened first |
| `mean` | global average pooling, which leaves flat features |
| `space_to_depth S` | moves each S x S block of positions into the features of one position: a stride that loses nothing |
| `depth_to_space S` | the inverse (Shi et al. 2016, arXiv:1609.05158, section 3.2) |
| `keep NAME` | keeps the feature map under a name |
| `add NAME` | adds the kept map (residual); one of another shape is projected by a 1x1 convolution with the missing stride and a `norm` (He et al. 2015, arXiv:1512.03385, section 3.3, option B) |
| `concat NAME` | upsamples this map to the size of the kept, finer one, and concatenates both |

A convolution or dense layer has no bias where a `norm` follows directly: the shift of the norm replaces it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from seqdigits.config.upgrade import RENAMED_LAYERS
from seqdigits.core.errors import UserError


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
    "space_to_depth": re.compile(r"space_to_depth (?P<size>\d+)"),
    "depth_to_space": re.compile(r"depth_to_space (?P<size>\d+)"),
    "keep": re.compile(r"keep (?P<name>\w+)"),
    "add": re.compile(r"add (?P<name>\w+)"),
    "concat": re.compile(r"concat (?P<name>\w+)"),
}
_OF_MAPS = ("conv", "pool", "mean", "space_to_depth", "depth_to_space", "keep", "add", "concat")
"""Layers that need a feature map."""
FLAT = ("dense", "mean")
"""Layers that leave none."""
_EXAMPLES = (
    "conv 5x5x32, conv 3x3x32 /2, conv 3x3x32 valid, relu, norm, norm shift, dropout 0.5, pool 2, pool 3 /2, dense 128, "
    "mean, space_to_depth 2, depth_to_space 2, keep a, add a, concat a"
)


def parse(text: str, key: str, *, flat: bool = False) -> tuple[Layer, ...]:
    """The layers of a stack; "" has none. `flat`: it gets features [B, F], not a feature map.

    >>> parse("conv 5x5x32 /2, relu", "model.encoder")[0]
    Layer(kind='conv', size=5, features=32, stride=2, padding='SAME', rate=0.0, scale=True, name='')

    Raises:
      UserError: naming `key`, the word that is not understood or that needs a feature map where there is none any more.
    """
    layers: list[Layer] = []
    strides_kept: dict[str, int] = {}  # stride of each kept map
    for word in (" ".join(word.split()) for word in text.split(",") if word.strip()):
        layer = _parse_layer(word, key)
        if flat and layer.kind in _OF_MAPS:
            raise UserError(
                f"{key}: {word!r} needs a feature map, and here are flat features. Put it before what is dense."
            )
        flat = flat or layer.kind in FLAT
        stride = total_stride(tuple(layers))
        if layer.kind == "depth_to_space" and stride % layer.size:
            raise UserError(f"{key}: {word!r}: the stride here, {stride}, is not a multiple of it.")
        if layer.kind == "keep":
            if layer.name in strides_kept:
                raise UserError(f"{key}: {word!r} occurs twice. Give each map its own name.")
            strides_kept[layer.name] = stride
        elif layer.name:
            if layer.name not in strides_kept:
                raise UserError(
                    f"{key}: {word!r} needs 'keep {layer.name}' before it. Kept are: {', '.join(strides_kept) or 'none'}."
                )
            if stride % strides_kept[layer.name]:
                raise UserError(
                    f"{key}: {word!r}: the stride here, {stride}, is not a multiple of that of the kept map, {strides_kept[layer.name]}."
                )
        layers.append(layer)
    return tuple(layers)


def _parse_layer(word: str, key: str) -> Layer:
    kind = word.split(" ")[0]
    match = _FORMS[kind].fullmatch(word) if kind in _FORMS else None
    if match is None:
        hint = f" {kind!r} was renamed to {RENAMED_LAYERS[kind]!r}." if kind in RENAMED_LAYERS else ""
        raise UserError(f"{key}: {word!r} is not a layer.{hint} Allowed are, for example: {_EXAMPLES}.")
    found = match.groupdict()
    size, features = (int(found.get(name) or 1) for name in ("size", "features"))
    stride = int(found.get("stride") or (size if kind in ("pool", "space_to_depth") else 1))
    if 0 in (size, features, stride) and kind in ("conv", "pool", "dense", "space_to_depth", "depth_to_space"):
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
      UserError: a VALID layer finds less than its own size, or a `space_to_depth` a size that it does not divide.
    """
    marks = {}
    for layer in layers:
        if layer.kind in ("conv", "pool"):
            if layer.padding == "VALID" and min(height, width) < layer.size:
                raise UserError(f"{key}: a {layer.kind} of size {layer.size} without padding meets {height}x{width}.")
            cut = layer.size - 1 if layer.padding == "VALID" else 0
            height, width = (-(-(n - cut) // layer.stride) for n in (height, width))
        elif layer.kind == "space_to_depth":
            if height % layer.size or width % layer.size:
                raise UserError(f"{key}: space_to_depth {layer.size} does not divide {height}x{width}.")
            height, width = height // layer.size, width // layer.size
        elif layer.kind == "depth_to_space":
            height, width = height * layer.size, width * layer.size
        elif layer.kind == "keep":
            marks[layer.name] = height, width
        elif layer.kind == "concat":
            height, width = marks[layer.name]
    return height, width


def total_stride(layers: tuple[Layer, ...]) -> int:
    """Pixels of the image that one step on the feature map is.

    >>> total_stride(parse("conv 5x5x16 /2, relu, pool 2", "model.encoder"))
    4
    >>> total_stride(parse("space_to_depth 2, keep a, conv 3x3x16 /2, concat a", "model.encoder"))
    2
    """
    return strides_along(layers)[-1]


def largest_stride(layers: tuple[Layer, ...]) -> int:
    """The largest that there is on the way.

    >>> largest_stride(parse("space_to_depth 2, keep a, conv 3x3x16 /2, concat a", "model.encoder"))
    4
    """
    return max(strides_along(layers))


def strides_along(layers: tuple[Layer, ...]) -> list[int]:
    """Pixels of the image that one step is, before the first layer and after each."""
    strides, marks = [1], {}
    for layer in layers:
        strides.append(strides[-1] * layer.stride)  # 1 of what has none
        if layer.kind == "depth_to_space":
            strides[-1] //= layer.size
        elif layer.kind == "keep":
            marks[layer.name] = strides[-1]
        elif layer.kind == "concat":
            strides[-1] = marks[layer.name]
    return strides
