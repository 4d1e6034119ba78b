"""Draws the charts of docs/findings.md from the files in results/.

python docs/draw_findings.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from seqdigits.core.files import write_atomically
from seqdigits.visualization import svg

RESULTS = Path(__file__).parents[1] / "results"

TRAINING_DIGITS = 55_000
"""Distinct digits where `data.distinct_digits` is 0."""

BLUE, ORANGE, GREEN, GRAY = "#3a76f0", "#de8426", "#2f9e63", "#8a8f98"


def main() -> None:
    """Writes findings_strips.svg and findings_photographs.svg beside this file."""
    charts = {"strips": strips(), "photographs": photographs()}
    for name, chart in charts.items():
        write_atomically(Path(__file__).with_name(f"findings_{name}.svg"), chart)


def report(name: str, split: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the evaluation on a split of a config with changed keys."""
    changed = [f"{key}={value}" for key, value in sorted((settings or {}).items())]
    path = RESULTS / f"{'+'.join([name, *changed])}.json"
    return json.loads(path.read_text())["reports"][split]


@svg.style()
def strips() -> str:
    """Draws accuracy by the number of distinct digits that the training strips are composed of."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    five, four = figure.subplots(1, 2, sharey=True)

    numbers = [2_000, 5_000, TRAINING_DIGITS]
    keys = [{"data.distinct_digits": number} if number < TRAINING_DIGITS else {} for number in numbers]
    for split, color, published in (("train", ORANGE, 1.0), ("validation", BLUE, 0.8)):
        found = [report("strip5_gru", split, key)["sequence_accuracy"] for key in keys]
        five.plot(numbers, found, color=color, marker="o", markersize=4, label=split)
        five.axhline(published, color=color, linestyle="--", linewidth=1)
    five.set_title("strip5_gru, five digits: sequence accuracy")
    _number_axis(five, numbers)

    numbers = [100, 1_000, TRAINING_DIGITS]
    for degrees, color in ((0, GREEN), (15, BLUE), (45, ORANGE)):
        found = [
            report(
                "strip4_row_gru",
                "validation",
                {
                    "data.distinct_digits": number % TRAINING_DIGITS,
                    "data.max_rotation": degrees,
                    "data.share_digits": True,
                },
            )["character_accuracy"]
            for number in numbers
        ]
        label = f"rotated by up to {degrees}°" if degrees else "upright"
        four.plot(numbers, found, color=color, marker="o", markersize=4, label=label)
    four.axhline(0.934, color=GRAY, linestyle="--", linewidth=1)
    four.set_title("strip4_row_gru, four digits: accuracy of positions")
    _number_axis(four, numbers)
    return svg.render_file(figure, "Accuracy by the number of distinct training digits, beside the published values.")


def _number_axis(axes: Axes, numbers: list[int]) -> None:
    axes.set_xlabel("distinct training digits (dashed: published)")
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    axes.grid(axis="y")
    axes.legend(loc="lower right")


_FROM_SCENE = {
    "init.path": "scene",
    "optim.decay_steps": 2500,
    "optim.learning_rate": 0.001,
    "train.steps": 2500,
}

NETWORKS = (
    ("published network (svhn_crop32)", "svhn_crop32", {"data.photographs": "svhn_2000"}, GRAY),
    ("ResNet-18, with augmentation", "svhn_crop_resnet18", {}, GREEN),
    ("ours from synthetic scenes, with augmentation", "reader_svhn_crop", _FROM_SCENE, BLUE),
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
        same.text(test, row + 0.18, f"{test:.3f}", ha="center", fontsize=8)
        same.text(train, row + 0.18, f"{train:.3f}", ha="center", fontsize=8)
    same.set_yticks(range(len(NETWORKS)), [network[0] for network in reversed(NETWORKS)])
    same.set_ylim(-0.5, len(NETWORKS) - 0.3)
    same.set_title("1,800 photographs: test (filled) and train")
    same.set_xlim(0, 1.05)

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


if __name__ == "__main__":
    main()
