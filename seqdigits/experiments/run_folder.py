"""Reads the folder of a run: config, curves, reports, parameters. Nothing is written to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from seqdigits.checkpoint.layout import find_checkpoint
from seqdigits.checkpoint.load import best_checkpoint
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.config.saved import complete_config
from seqdigits.config.upgrade import upgrade_report
from seqdigits.core import provenance
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError, short

Curve = tuple[np.ndarray, np.ndarray]
"""Steps i64 [n], and the values f64 [n] of one metric at them."""

_POINTS = 300
"""A curve with more points is averaged over groups of neighbors."""


@dataclass(frozen=True)
class RunFolder:
    """The contents of the folder of a run.

    Attributes:
      name: of the run on the page.
      workdir: its folder.
      checkpoint: the folder of the chosen checkpoint.
      step: that of the checkpoint.
      config: that of the checkpoint, complete.
      curves: by metric and split.
      reports: `evaluation/SPLIT.json` by split, those that are there.
      starts: see provenance.read; empty where the folder has none.
      seconds: of training up to the checkpoint.
    """

    name: str
    workdir: Path
    checkpoint: Path
    step: int
    config: ConfigDict
    curves: dict[str, dict[str, Curve]]
    reports: dict[str, dict[str, Any]]
    starts: list[dict[str, Any]]
    seconds: float


def read_run(workdir: Path, name: str, which: str = "best") -> RunFolder:
    """Reads the folder of a run.

    Args:
      workdir: its folder.
      name: of the run on the page.
      which: best (the latest if none was evaluated), latest, or a step.

    Raises:
      UserError: it is no folder of a run, has no checkpoint yet, or a file in it is damaged.
    """
    if not workdir.is_dir():
        raise UserError(f"{workdir} is no folder. Name the --workdir of a run.")
    if not (workdir / "config.json").exists() and not (workdir / "checkpoints").is_dir():
        raise UserError(
            f"{workdir} is not the folder of a run: it has no config.json and no checkpoints. Name its --workdir."
        )
    checkpoint = best_checkpoint(workdir) if which == "best" else find_checkpoint(workdir, which)
    meta = read_meta(checkpoint)
    config = complete_config(meta["config"], checkpoint)
    return RunFolder(
        name=name,
        workdir=workdir,
        checkpoint=checkpoint,
        step=meta["step"],
        config=config,
        curves=read_curves(workdir / "metrics.jsonl"),
        reports=_read_reports(workdir / "evaluation"),
        starts=provenance.read(workdir) if (workdir / "provenance.json").exists() else [],
        seconds=meta["seconds"],
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of `metrics.jsonl`, each with `step`, `split` and metrics by name; none where there is no file.

    A last line without an end, which a running training may be writing, is left out.

    Raises:
      UserError: another line is damaged.
    """
    entries = []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines[:-1], 1):
        try:
            entry = json.loads(line)
            if type(entry["step"]) is not int or not isinstance(entry["split"], str):
                raise ValueError("its step is not an integer, or its split is not a text")
        except (ValueError, LookupError, TypeError, RecursionError) as e:
            raise UserError(
                f"{path} is damaged: line {number} cannot be read ({short(e)}). Rerun the training command, which repairs it, "
                "or delete that line."
            ) from e
        entries.append(entry)
    return entries


def read_curves(path: Path) -> dict[str, dict[str, Curve]]:
    """Reads the curves of `metrics.jsonl`, by metric and split; see `read_metrics`."""
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for entry in read_metrics(path):
        for metric, value in entry.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and metric not in ("step", "seconds", "examples"):
                points.setdefault(metric, {}).setdefault(entry["split"], []).append((entry["step"], float(value)))
    return {
        metric: {split: thin(np.array(found)) for split, found in by_split.items()}
        for metric, by_split in points.items()
    }


def thin(points: np.ndarray, most: int = _POINTS) -> Curve:
    """Returns f64 [n, 2], steps and values, as a curve of at most `most` points: means of as many neighbors.

    >>> steps, values = thin(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 5.0]]), most=2)
    >>> steps.tolist(), values.tolist()
    ([2, 3], [3.0, 5.0])
    """
    size = -(-len(points) // most)
    starts = np.arange(0, len(points), size)
    counts = np.diff(starts, append=len(points))
    ends = starts + counts - 1
    return points[ends, 0].astype(np.int64), np.add.reduceat(points[:, 1], starts) / counts


def _read_reports(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the reports of complete evaluations, by split.

    Raises:
      UserError: one of them is damaged.
    """
    reports = {}
    for split in SPLITS:
        path = folder / f"{split}.json"
        if not path.exists():
            continue
        try:
            report = upgrade_report(json.loads(path.read_text()))
            if not {"step", "examples", "sequence_accuracy", "accuracy_by_length"} <= report.keys():
                raise ValueError("it has no step, examples, sequence_accuracy or accuracy_by_length")
            if not isinstance(report["accuracy_by_length"], dict):
                raise ValueError("accuracy_by_length is not an object")
        except (OSError, ValueError, AttributeError, RecursionError) as e:
            raise UserError(
                f"{path} is damaged: {short(e)}. Evaluate the run again (--mode evaluate), or delete the file."
            ) from e
        reports[split] = report
    return reports
