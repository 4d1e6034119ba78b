"""Draws the chart of docs/findings.md from the files in results/.

    python docs/draw_findings.py

It draws what `seqdigits reproduce` has written.
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
    """Writes findings_photographs.svg beside this file."""
    write_atomically(Path(__file__).with_name("findings_photographs.svg"), photographs())


def report(name: str, split: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the evaluation on a split of a config with changed keys."""
    changed = [f"{key}={value}" for key, value in sorted((settings or {}).items())]
    path = RESULTS / f"{'+'.join([name, *changed])}.json"
    return json.loads(path.read_text())["reports"][split]


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


if __name__ == "__main__":
    main()
