"""Writes the page of `seqdigits page`: runs side by side in one HTML file that refers to no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from clu import parameter_overview

from seqdigits.config.defaults import DEFAULTS, get
from seqdigits.core import params
from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.progress import duration
from seqdigits.core.types import Variables
from seqdigits.evaluation.examples import EvaluatedExamples, Example
from seqdigits.evaluation.table import metric_rows
from seqdigits.experiments.run_folder import RunFolder
from seqdigits.inspection.origins import data_origin
from seqdigits.visualization import charts, run_charts
from seqdigits.visualization.html import Table, Tile, encode, inline, render, tile_width

LIMIT = 2_000_000
"""Maximum size of a page in bytes."""

_ORDER = (
    "loss",
    "loss/",  # all terms of the loss
    "sequence_accuracy",
    "character_accuracy",
    "digit_accuracy",
    "length_accuracy",
    "number_recall",
    "number_precision",
    "localization_error",
    "localization_error_standard_error",
    "center_error",
    "iou",
    "cross_entropy",
    "cross_entropy_standard_error",
    "calibration_error",
    "digit_calibration_error",
    "coverage_at_98",
)
"""Order of the curves; others follow."""
_ERRORS = (
    "localization_error",
    "localization_error_standard_error",
    "center_error",
    "cross_entropy",
    "cross_entropy_standard_error",
    "gradient_norm",
)
"""Metrics besides losses that may span orders of magnitude."""
_SQUARED_ERRORS = np.geomspace(0.01, 10_000, 37)  # px², edges of the histogram
_OVERLAPS = np.linspace(0, 1, 26)


@dataclass(frozen=True)
class PageRun:
    """A run of the page: its folder, its variables, and the examples it was evaluated on."""

    folder: RunFolder
    variables: Variables
    evaluated: EvaluatedExamples

    @property
    def name(self) -> str:
        """Its name on the page."""
        return self.folder.name


def html(runs: Sequence[PageRun], command: str) -> str:
    """Returns the whole page, of at most LIMIT bytes. Images are made smaller where they would exceed it.

    Args:
      runs: at most as many as run_charts.RUN_COLORS.
      command: the command line, for the section on provenance.

    Raises:
      UserError: it would be larger even with the smallest images.
    """
    content = _content(runs, command)
    images = [e.image for run in runs for _, examples in _galleries(run.evaluated) for e in examples]
    size = len(_render(content, runs, [""] * len(images)).encode())
    uris = encode(images, LIMIT - size)
    if uris is None:
        raise UserError(
            f"a page of {len(runs)} runs with {len(images)} images exceeds {LIMIT:,} bytes. Name fewer runs, or fewer "
            "examples: --kept 8."
        )
    return _render(content, runs, uris)


def _render(content: dict[str, Any], runs: Sequence[PageRun], uris: Sequence[str]) -> str:
    rest = iter(uris)
    examples = [
        (
            class_,
            run.name,
            [
                (title, [_tile(e, run.evaluated.split, next(rest)) for e in shown])
                for title, shown in _galleries(run.evaluated)
            ],
        )
        for class_, run in _by_class(runs).items()
    ]
    return render("runs.html.jinja", examples=examples, **content)


def _by_class(runs: Sequence[PageRun]) -> dict[str, PageRun]:
    """Returns the runs by the name of their color."""
    return dict(zip(run_charts.RUN_COLORS, runs, strict=False))


def _galleries(evaluated: EvaluatedExamples) -> list[tuple[str, list[Example]]]:
    return [
        ("Right", evaluated.right),
        ("Wrong", evaluated.wrong),
        ("Most confident mistakes", evaluated.sure),
    ]


def _tile(example: Example, split: str, uri: str) -> Tile:
    height, width, _ = example.image.shape
    truth = "" if example.is_right else f"is {example.truth}, "
    return Tile(
        uri=uri,
        alt=f"{split} {example.index}: {example.truth}, predicted {example.predicted}",
        height=height,
        width=width,
        boxes=_corners(example.true_boxes),
        text=example.predicted,
        note=f"{truth}{example.confidence:.0%}",
        min_width=tile_width(width),
        predicted=_corners(example.predicted_boxes),
        is_wrong=not example.is_right,
    )


def _corners(boxes: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Returns left, top, width and height of boxes cxcywh with a size."""
    return [(x - w / 2, y - h / 2, w, h) for x, y, w, h in boxes.tolist() if w > 0 and h > 0]


def _content(runs: Sequence[PageRun], command: str) -> dict[str, Any]:
    """Returns the variables of the template, but for the examples."""
    names = [run.name for run in runs]
    return {
        "name": ", ".join(names),
        "colors": charts.COLORS | run_charts.RUN_COLORS,
        "runs": [_card(class_, run) for class_, run in _by_class(runs).items()],
        "origins": list(dict.fromkeys(data_origin(run.folder.config.data) for run in runs)),
        "evaluated": _evaluated_text(runs),
        "metrics": Table(("", *names), metric_rows([run.evaluated.metrics for run in runs])),
        "reports": _reports(runs),
        "curves": inline(_curves(runs)),
        "accuracy": inline(_accuracy(runs)),
        "wrong_digits": inline([_wrong_digits(runs)]),
        "confusion": [(class_, run.name, _confusion(run)) for class_, run in _by_class(runs).items()],
        "confidence": inline(_confidence(runs)),
        "localization": inline(_localization(runs)),
        "parameters": [(class_, run.name, _parameters(run.variables)) for class_, run in _by_class(runs).items()],
        "config": _config(runs),
        "provenance": [(class_, run.name, _starts(run.folder)) for class_, run in _by_class(runs).items()],
        "command": command,
    }


def _card(class_: str, run: PageRun) -> dict[str, Any]:
    folder, accuracy = run.folder, run.evaluated.metrics["sequence_accuracy"]
    return {
        "class": class_,
        "name": run.name,
        "accuracy": f"{accuracy:.4f}",
        "model": f"{folder.config.model.name}, {params.count(run.variables['params']):,} parameters",
        "step": f"step {folder.step:,} of {folder.config.train.steps:,}, trained {duration(folder.seconds)}",
    }


def _evaluated_text(runs: Sequence[PageRun]) -> str:
    counts = dict.fromkeys(
        f"the first {run.evaluated.metrics['examples']:,} examples of {run.evaluated.split}" for run in runs
    )
    return " or ".join(counts)


def _reports(runs: Sequence[PageRun]) -> list[tuple[str, Table]]:
    """Returns the metrics of the complete evaluations in the folders: a table of all splits of one run, or one for each split."""
    if len(runs) == 1:
        found = {f"{split}, step {report['step']:,}": report for split, report in runs[0].folder.reports.items()}
        tables = [("Complete evaluations that are in its folder", found)]
    else:
        tables = [
            (
                f"Complete evaluations of {split} that are in the folders",
                {
                    f"{run.name}, step {run.folder.reports[split]['step']:,}": run.folder.reports[split]
                    for run in runs
                    if split in run.folder.reports
                },
            )
            for split in SPLITS
        ]
    return [(title, Table(("", *found), metric_rows(list(found.values())))) for title, found in tables if found]


def _curves(runs: Sequence[PageRun]) -> list[str]:
    def place(metric: str) -> tuple[int, str]:
        name = "loss/" if metric.startswith("loss/") else metric
        return (_ORDER.index(name) if name in _ORDER else len(_ORDER), metric)

    return [_curve(metric, runs) for metric in sorted({m for run in runs for m in run.folder.curves}, key=place)]


def _curve(metric: str, runs: Sequence[PageRun]) -> str:
    """Draws one metric: the color tells the run, or the split of a single run; the line tells the split of several."""
    lines: list[run_charts.Line] = []
    splits: dict[str, str] = {}  # and a color of each
    for run, color in zip(runs, run_charts.RUN_COLORS.values(), strict=False):
        for split, (steps, values) in run.folder.curves.get(metric, {}).items():
            split_color = charts.COLORS.get(split, charts.COLORS["train"])
            splits[split] = split_color if len(runs) == 1 else "#000000"
            label = run_charts.SPLIT_NAMES.get(split, split) + (f" of {run.name}" if len(runs) > 1 else "")
            line_color = split_color if len(runs) == 1 else color
            lines.append((label, line_color, run_charts.SPLIT_LINES.get(split, "-"), steps, values))
    legend = [
        (run_charts.SPLIT_NAMES.get(split, split), color, run_charts.SPLIT_LINES.get(split, "-"))
        for split, color in splits.items()
    ]
    is_log = metric.startswith("loss") or metric in _ERRORS
    return run_charts.curves(metric, lines, legend, may_be_log=is_log)


def _colored(runs: Sequence[PageRun], values: Sequence[Any]) -> dict[str, tuple[str, Any]]:
    """Returns a color and a value by run."""
    return {run.name: found for run, *found in zip(runs, run_charts.RUN_COLORS.values(), values, strict=False)}  # type: ignore[misc]


def _accuracy(runs: Sequence[PageRun]) -> list[str]:
    metrics = [run.evaluated.metrics for run in runs]
    positions = max(len(m["accuracy_by_position"]) for m in metrics)
    by_position = [m["accuracy_by_position"] + [None] * (positions - len(m["accuracy_by_position"])) for m in metrics]
    lengths = sorted({n for m in metrics for n in m["accuracy_by_length"]}, key=int)
    by_length = [[m["accuracy_by_length"].get(n) for n in lengths] for m in metrics]
    names = [str(i + 1) for i in range(positions)]
    return [
        run_charts.bars("Accuracy by position", names, _colored(runs, by_position), "position", 1.0),
        run_charts.bars("Accuracy by length", lengths, _colored(runs, by_length), "number of digits", 1.0),
    ]


def _wrong_digits(runs: Sequence[PageRun]) -> str:
    counts = [run.evaluated.metrics["wrong_digits_per_missed_number"] for run in runs]
    size = max(map(len, counts))
    shares = [[n / max(sum(count), 1) for n in count] + [None] * (size - len(count)) for count in counts]
    return run_charts.bars(
        "Wrong digits per missed number", [str(n) for n in range(size)], _colored(runs, shares), "wrong digits"
    )


def _confusion(run: PageRun) -> list[dict[str, Any]]:
    """Returns the rows of the confusion matrix: a class, its share in each predicted class, and its count."""
    matrix = np.array(run.evaluated.metrics["confusion"])
    return [
        {
            "name": "none" if true == NO_DIGIT else str(true),
            "cells": [_cell(int(n), n / max(row.sum(), 1), true == i) for i, n in enumerate(row)],
            "total": f"{row.sum():,}",
        }
        for true, row in enumerate(matrix)
        if row.sum()
    ]


def _cell(count: int, share: float, is_right: bool) -> tuple[str, str, str, bool]:
    """Returns text, opacity, count and whether it is on the diagonal, of a cell. Rare confusions must be seen, too."""
    return (f"{100 * share:.0f}" if share >= 0.005 else "", f"{np.sqrt(share):.2f}", f"{count:,}", is_right)


def _confidence(runs: Sequence[PageRun]) -> list[str]:
    metrics = [run.evaluated.metrics for run in runs]
    numbers = _colored(runs, [m["reliability"]["numbers"] for m in metrics])
    digits = _colored(runs, [m["reliability"]["digits"] for m in metrics])
    kept = _colored(runs, [run.evaluated.counts.number_confidences.selective_accuracy() for run in runs])
    return [
        run_charts.reliability("Reliability of numbers", numbers),
        run_charts.reliability("Reliability of digits", digits),
        run_charts.coverage("Accuracy by coverage", kept),
    ]


def _localization(runs: Sequence[PageRun]) -> list[str]:
    errors, overlaps = [run.evaluated.box_errors for run in runs], [run.evaluated.overlaps for run in runs]
    return [
        run_charts.histogram(
            "Localization error", _colored(runs, errors), _SQUARED_ERRORS, "mean squared error, px²", is_log=True
        ),
        run_charts.histogram("IoU", _colored(runs, overlaps), _OVERLAPS, "IoU with the true box"),
    ]


def _parameters(variables: Variables) -> Table:
    """Returns the table of clu.parameter_overview."""
    text = parameter_overview.get_parameter_overview(jax.device_get(variables["params"]))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return Table(rows[0], rows[1:])


def _config(runs: Sequence[PageRun]) -> dict[str, Any]:
    """Returns the keys that differ from the base config in any run, and all keys."""

    def values(key: str) -> list[tuple[str, bool]]:
        return [(json.dumps(get(run.folder.config, key)), get(run.folder.config, key) != DEFAULTS[key]) for run in runs]

    rows = [(key, json.dumps(default), values(key)) for key, default in DEFAULTS.items()]
    changed = [row for row in rows if any(is_changed for _, is_changed in row[2])]
    different = [(*row, len({text for text, _ in row[2]}) > 1) for row in changed]
    return {"changed": different, "all": rows, "names": [run.name for run in runs]}


def _starts(folder: RunFolder) -> list[tuple[str, str]]:
    """Returns the parts of a training: the steps from which it ran, and with what."""
    return [
        (
            f"from step {start['step']:,}",
            f"commit {start['commit'] or 'unknown'}; {_count(start['devices'])}",
        )
        for start in folder.starts
    ]


def _count(devices: Sequence[str]) -> str:
    """Returns the kinds of devices with their numbers.

    >>> _count(["gpu H200", "gpu H200"])
    '2 × gpu H200'
    """
    return ", ".join(f"{number} × {device}" for device, number in Counter(devices).items())
