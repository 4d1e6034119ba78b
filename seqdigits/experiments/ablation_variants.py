"""The variants of the ablation: the keys that each changes in the base experiment."""

from __future__ import annotations

import dataclasses
from typing import Any

from seqdigits.models.encoders import RESIDUAL_STRIDE_8


def _convolutions(*sizes: str) -> str:
    return ", ".join(f"conv {size}, norm, relu" for size in sizes)


_STRIDE_4 = "space_to_depth 2, " + _convolutions("3x3x32", "3x3x64 /2", "3x3x64", "3x3x64")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One change of the base experiment.

    Attributes:
      factor: the factor that is varied.
      level: its level.
      keys: config keys that differ from the base.
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
"""The baseline: the factors are varied from it, one at a time."""

_CENTER_SAMPLING = {"loss.target": "center_sampling", "loss.target_radius": 0.3}
_HEATMAP = {"loss.target": "heatmap", "loss.target_radius": 0.15}
_AVERAGED = {"optim.moving_average": 0.99}

VARIANTS = {
    "plain": Variant("-", "stride 8, 391,119 parameters; canvases of 40x152, target cell", {}),
    "small": Variant(
        "network",
        "stride 8, 84,767 parameters",
        {"model.encoder": "conv 5x5x16 /2, norm, relu, " + _convolutions("3x3x32 /2", "3x3x48 /2", "3x3x64", "3x3x64")},
    ),
    "deep": Variant(
        "network",
        "stride 8, two residual pairs",
        {"model.encoder": RESIDUAL_STRIDE_8},
    ),
    "stride4": Variant("network", "stride 4, without the coarsest scale", {"model.encoder": _STRIDE_4}),
    "joined": Variant(
        "network",
        "stride 4, concatenated with stride 8",
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
    "several": Variant("target", "center sampling, radius 0.3", _CENTER_SAMPLING),
    "gaussian": Variant("target", "heatmap, radius 0.15", _HEATMAP),
    "smoothed": Variant("label smoothing", "0.1", {"loss.smoothing": 0.1}),
    "averaged": Variant("moving average", "0.99", _AVERAGED),
    "upright": Variant("augmentation", "none", {"data.rotation": 0, "data.zoom": 0, "data.shear": 0}),
    "elastic": Variant("augmentation", "with elastic, 1.5 pixels", {"data.elastic": 150}),
    "both": Variant(
        "combination",
        "center sampling 0.3, averaged, elastic, deep",
        {**_CENTER_SAMPLING, **_AVERAGED, "data.elastic": 150, "model.encoder": RESIDUAL_STRIDE_8},
    ),
    "both_gaussian": Variant(
        "combination",
        "heatmap 0.15, averaged, elastic, deep",
        {**_HEATMAP, **_AVERAGED, "data.elastic": 150, "model.encoder": RESIDUAL_STRIDE_8},
    ),
}
