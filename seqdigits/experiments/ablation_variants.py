"""The variants of the ablation: what each changes in the base experiment."""

from __future__ import annotations

import dataclasses
from typing import Any


def _convolutions(*sizes: str) -> str:
    return ", ".join(f"conv {size}, norm, relu" for size in sizes)


_STRIDE_4 = "space_to_depth 2, " + _convolutions("3x3x32", "3x3x64 /2", "3x3x64", "3x3x64")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One change of the base.

    Attributes:
      factor: what is varied.
      level: how.
      keys: of the config that differ from the base.
    """

    factor: str
    level: str
    keys: dict[str, Any]


PLAIN: dict[str, Any] = {
    "model.encoder": "space_to_depth 2, " + _convolutions("3x3x32", "3x3x64 /2", "3x3x128 /2", "3x3x128", "3x3x128"),
    "data.train_height": 40,
    "data.train_width": 152,
    "data.train_min_length": 0,
    "data.rotation": 10,
    "data.zoom": 10,
    "data.shear": 10,
    "data.elastic": 0,
    "loss.target": "cell",
    "loss.target_radius": 0.0,
    "loss.smoothing": 0.0,
    "optim.moving_average": 0.0,
}
"""What the factors are varied from, one at a time."""

_SEVERAL = {"loss.target": "center_sampling", "loss.target_radius": 0.3}
_GAUSSIAN = {"loss.target": "heatmap", "loss.target_radius": 0.15}
_AVERAGED = {"optim.moving_average": 0.99}
_DEEP = (
    "space_to_depth 2, conv 3x3x32, norm, relu, conv 3x3x64 /2, norm, relu, "
    "keep a, conv 3x3x64, norm, relu, conv 3x3x64, norm, add a, relu, conv 3x3x128 /2, norm, relu, "
    "keep b, conv 3x3x128, norm, relu, conv 3x3x128, norm, add b, relu"
)

VARIANTS = {
    "plain": Variant("-", "stride 8, 391,119 parameters; canvases of 40x152; the cell of the center", {}),
    "small": Variant(
        "network",
        "stride 8, 84,767 parameters",
        {"model.encoder": "conv 5x5x16 /2, norm, relu, " + _convolutions("3x3x32 /2", "3x3x48 /2", "3x3x64", "3x3x64")},
    ),
    "deep": Variant(
        "network",
        "stride 8, two residual pairs",
        {"model.encoder": _DEEP},
    ),
    "stride4": Variant("network", "stride 4, without the last scale", {"model.encoder": _STRIDE_4}),
    "joined": Variant(
        "network",
        "stride 4, joined with stride 8",
        {
            "model.encoder": "space_to_depth 2, "
            + _convolutions("3x3x32", "3x3x64 /2")
            + ", keep a, "
            + _convolutions("3x3x128 /2", "3x3x128", "3x3x128")
            + ", concat a, "
            + _convolutions("1x1x96")
        },
    ),
    "wide": Variant("canvas", "64x160", {"data.train_height": 64, "data.train_width": 160}),
    "packed": Variant(
        "canvas",
        "40x148 with 4 or 5 digits",
        {"data.train_width": 148, "data.train_min_length": 4},
    ),
    "several": Variant("target", "all cells within 0.3", _SEVERAL),
    "gaussian": Variant("target", "gaussian of 0.15", _GAUSSIAN),
    "smoothed": Variant("label smoothing", "0.1", {"loss.smoothing": 0.1}),
    "averaged": Variant("moving average", "0.99", _AVERAGED),
    "upright": Variant("augmentation", "none", {"data.rotation": 0, "data.zoom": 0, "data.shear": 0}),
    "elastic": Variant("augmentation", "and elastic, 1.5 pixels", {"data.elastic": 150}),
    "both": Variant(
        "several at once",
        "all cells within 0.3, averaged, elastic, deep",
        {**_SEVERAL, **_AVERAGED, "data.elastic": 150, "model.encoder": _DEEP},
    ),
    "both_gaussian": Variant(
        "several at once",
        "gaussian of 0.15, averaged, elastic, deep",
        {**_GAUSSIAN, **_AVERAGED, "data.elastic": 150, "model.encoder": _DEEP},
    ),
}
