"""Draws the charts of docs/findings.md from the files in results/.

    python docs/draw_findings.py

It draws what `seqdigits reproduce` and docs/measure_gradients.py have written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from seqdigits.core.files import write_atomically
from seqdigits.visualization import svg

RESULTS = Path(__file__).parents[1] / "results"

BLUE, ORANGE, GREEN, GRAY = "#3a76f0", "#de8426", "#2f9e63", "#8a8f98"


def main() -> None:
    """Writes findings_*.svg beside this file."""
    for draw in (photographs, first_networks, strips, canvases):
        write_atomically(Path(__file__).with_name(f"findings_{draw.__name__}.svg"), draw())


def result(name: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the result of a config with changed keys."""
    changed = [f"{key}={value}" for key, value in sorted((settings or {}).items())]
    path = RESULTS / f"{'+'.join([name, *changed])}.json"
    return json.loads(path.read_text())


def report(name: str, split: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the evaluation on a split of a config with changed keys."""
    return result(name, settings)["reports"][split]


_FROM_SCENE = {
    "init.path": "scene",
    "optim.decay_steps": 2500,
    "optim.learning_rate": 0.001,
    "train.steps": 2500,
}

_AUGMENTED = {
    "data.color": 40,
    "data.photographs": "svhn_2000",
    "data.rotation": 10,
    "data.shear": 10,
    "data.shift": 3,
    "data.zoom": 30,
}

NETWORKS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("published, a tenth of its steps", "svhn_crop32", {"data.photographs": "svhn_2000"}, GRAY),
    ("the same, augmented", "svhn_crop32", _AUGMENTED, ORANGE),
    ("ResNet-18, augmented", "svhn_crop_resnet18", {}, GREEN),
    ("ours from scenes, augmented", "reader_svhn_crop", _FROM_SCENE, BLUE),
)
"""Label, config, changed keys and color of the networks that were trained on the same 1,800 photographs."""


@svg.style()
def photographs() -> str:
    """Draws accuracy on train and test of networks trained on the same 1,800 cropped photographs, and of ours on fewer."""
    figure = Figure(figsize=(9, 3.0), layout="constrained")
    same, fewer = figure.subplots(1, 2, width_ratios=(3, 2))
    for row, (_, name, keys, color) in enumerate(reversed(NETWORKS)):
        train, test = (report(name, split, keys)["sequence_accuracy"] for split in ("train", "test"))
        same.plot([test, train], [row, row], color=color, linewidth=1.5)
        same.plot(test, row, "o", color=color)
        same.plot(train, row, "o", color=color, markerfacecolor="none")
        same.text(test - 0.02, row, f"{test:.3f}", ha="right", va="center", fontsize=8)
        same.text(train + 0.02, row, f"{train:.3f}", ha="left", va="center", fontsize=8)
    same.set_yticks(range(len(NETWORKS)), [network[0] for network in reversed(NETWORKS)])
    same.set_ylim(-0.5, len(NETWORKS) - 0.3)
    same.set_title("1,800 photographs: test (filled) and train")
    same.set_xlim(0, 1.12)
    same.set_xlabel("sequence accuracy")

    numbers = [250, 500, 1_000, 1_800]
    keys = [_FROM_SCENE | ({"data.train_photographs": n} if n < 1_800 else {}) for n in numbers]
    found = np.array([report("reader_svhn_crop", "test", key)["sequence_accuracy"] for key in keys])
    fewer.plot(numbers, found, color=BLUE, marker="o", markersize=4)
    fewer.set_title("ours on fewer photographs: test")
    fewer.set_xlabel("training photographs")
    fewer.set_xscale("log")
    fewer.set_xticks(numbers, [f"{number:,}" for number in numbers])
    fewer.xaxis.set_minor_locator(NullLocator())
    fewer.set_ylim(0, 1.02)
    fewer.grid(axis="y")
    return svg.render_file(figure, "Accuracy of networks trained on the same house numbers.")


FIRST: tuple[tuple[str, str, str], ...] = (
    ("first_four_11", "1 convolution, 1 dense layer", BLUE),
    ("first_four_12", "1 convolution, 2 dense layers", GREEN),
    ("first_four_21", "2 convolutions, 1 dense layer", ORANGE),
    ("first_four_22", "2 convolutions, 2 dense layers", GRAY),
)
"""Config, label and color of the four first networks: convolutions before each pool, and dense layers."""


@svg.style()
def first_networks() -> str:
    """Draws the learning curves of the four first networks on the same 1,800 photographs."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    losses, found = figure.subplots(1, 2)
    for name, label, color in FIRST:
        curve = result(name, {"data.photographs": "svhn_2000"})["curve"]
        for axes, key in ((losses, "loss"), (found, "sequence_accuracy")):
            points = [(point["step"], point[key]) for point in curve if point[key] is not None]
            axes.plot(*zip(*points, strict=True), color=color, linewidth=1.5, label=label)
    losses.set_title("loss of training batches")
    losses.set_yscale("log")
    found.set_title("sequence accuracy on 200 validation photographs")
    found.set_ylim(0, 0.6)
    for axes in (losses, found):
        axes.set_xlabel("training steps of 64")
        axes.set_xlim(0, 6_000)
        axes.grid(axis="y")
    handles, labels = found.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return svg.render_file(figure, "Learning curves of four networks on the same house numbers.")


_ROW_GRU = {"data.share_digits": True}

STRIPS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("upright, shifted by up to 4 pixels, 55,000", {"data.distinct_digits": 0, "data.max_rotation": 0}, GRAY),
    ("upright, shifted, 1,000", {"data.distinct_digits": 1000, "data.max_rotation": 0}, GRAY),
    ("upright, shifted, 100", {"data.distinct_digits": 100, "data.max_rotation": 0}, GRAY),
    ("rotated by up to 45 degrees, shifted, 100", {"data.distinct_digits": 100, "data.max_rotation": 45}, GRAY),
    ("rotated by up to 45 degrees, not shifted, 100", {"data.distinct_digits": 100, "data.jitter": 0}, BLUE),
    (
        "rotated by up to 15 degrees, not shifted, 100",
        {"data.distinct_digits": 100, "data.jitter": 0, "data.max_rotation": 15},
        BLUE,
    ),
    (
        "upright, not shifted, 100",
        {"data.distinct_digits": 100, "data.jitter": 0, "data.max_rotation": 0},
        BLUE,
    ),
)
"""Label, changed keys and color of the images of strip4_row_gru: how digits lie, and how many distinct ones there are."""


@svg.style()
def strips() -> str:
    """Draws the accuracy of strip4_row_gru on images of the digits that it was trained on, and on images of new ones."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    axes = figure.subplots()
    for row, (_, keys, color) in enumerate(reversed(STRIPS)):
        same, new = (
            report("strip4_row_gru", split, _ROW_GRU | keys)["character_accuracy"] for split in ("validation", "test")
        )
        axes.plot([new, same], [row, row], color=color, linewidth=1.5)
        axes.plot(new, row, "o", color=color)
        axes.plot(same, row, "o", color=color, markerfacecolor="none")
        axes.text(new - 0.012, row, f"{new:.3f}", ha="right", va="center", fontsize=8)
        axes.text(same + 0.012, row, f"{same:.3f}", ha="left", va="center", fontsize=8)
    axes.axvline(0.934, ymax=0.94, color=ORANGE, linestyle="--", linewidth=1)
    axes.text(0.934, len(STRIPS) - 0.45, "published, 0.934", color=ORANGE, ha="center", va="bottom", fontsize=8)
    axes.set_yticks(range(len(STRIPS)), [images[0] for images in reversed(STRIPS)])
    axes.set_ylim(-0.5, len(STRIPS) - 0.2)
    axes.set_xlim(0.3, 1.05)
    axes.set_xlabel("accuracy of positions: on images of the training digits (hollow), and of new digits")
    return svg.render_file(figure, "Accuracy of strip4_row_gru on images of the training digits and of new ones.")


@svg.style()
def canvases() -> str:
    """Draws how many times the gradient of the box loss exceeds that of the digit loss in the shared layers."""
    measured = json.loads((RESULTS / "findings" / "gradients.json").read_text())["networks"]
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    axes = figure.subplots()
    for (name, found), color in zip(measured.items(), (GRAY, ORANGE, BLUE), strict=True):
        ratios = [one["gradient_box"] / one["gradient_digits"] for one in found]
        axes.plot([one["step"] for one in found], ratios, color=color, marker="o", markersize=4, label=name)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("training steps")
    axes.set_ylabel("box loss / digit loss")
    axes.set_title("gradient norm in the shared layers")
    axes.grid(axis="y")
    figure.legend(loc="outside right center", frameon=False)
    return svg.render_file(figure, "Ratio of the gradients of two losses in the canvas networks.")


if __name__ == "__main__":
    main()
