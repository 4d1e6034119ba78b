"""The small JSON that is kept of a run: config, where it comes from, every figure, ours beside the published, the curve."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqdigits.checkpoint import layout as checkpoint_layout
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.config.defaults import FREE_KEYS, digest, to_json
from seqdigits.experiments.published import PUBLISHED, Published, beaten, ours

CURVE_POINTS = 100


def collect(
    name: str,
    base: str,
    config: ConfigDict,
    settings: dict[str, Any],
    planned: int,
    workdir: Path,
    program: dict[str, Any],
    parameters: int,
) -> dict[str, Any]:
    """What is kept of a run that came to its end.

    Args:
      name: of the run.
      base: of its experiment.
      config: of the whole schedule, with the settings.
      settings: keys that differ from the experiment's file.
      planned: steps that the file has.
      workdir: of the run.
      program: provenance.describe() of when the series began.
      parameters: how many numbers are trained.
    """
    reports = _reports(config, workdir)
    steps, seconds = progress(workdir)
    comparable = steps >= planned and not _another(settings)
    trained = json.loads((workdir / "provenance.json").read_text())
    return {
        "name": name,
        "settings": settings,
        "config": json.loads(to_json(config)),
        "config_sha256": digest(config),
        "seed": config.seed,
        **{key: program[key] for key in ("commit", "devices", "cores", "python", "versions")},
        "trained": [{key: part[key] for key in ("step", "commit", "devices")} for part in trained],
        "begun_with": _begun_with(config, workdir, steps),
        "steps": steps,
        "steps_planned": planned,
        "fraction": steps / planned,
        "partial": steps < planned,
        "comparable": comparable,
        "minutes": round(seconds / 60, 2),
        "parameters": parameters,
        "reports": reports,
        "published": _beside(PUBLISHED.get(base), reports, comparable),
        "curve": curve(workdir / "metrics.jsonl"),
    }


def _begun_with(config: ConfigDict, workdir: Path, step: int) -> dict[str, Any] | None:
    """What the run began with, and that in turn, as it was then; None where it began with nothing. It is called as the config
    calls it, wherever the series had it."""

    found = read_meta(checkpoint_layout.folder(workdir) / str(step)).get("begun_with")
    return found and {**found, "path": config.init.path}


_LONG = ("split", "confusion", "reliability")


def _reports(config: ConfigDict, workdir: Path) -> dict[str, dict[str, Any]]:
    """All figures by split; confusion matrices and reliability, which are long, stay in the workdir."""
    reports = {}
    for split in config.evaluate.splits:
        report = json.loads((workdir / "evaluation" / f"{split}.json").read_text())
        reports[split] = {key: value for key, value in report.items() if key not in _LONG}
    return reports


def progress(workdir: Path) -> tuple[int, float]:
    """Steps that are saved, and the seconds that they took, evaluation along the way included; (0, 0.0) for none."""

    folder = checkpoint_layout.folder(workdir)
    for step in reversed(checkpoint_layout.all_steps(folder)):
        with contextlib.suppress(OSError, ValueError, KeyError):  # not finished: the one before counts
            return step, read_meta(folder / str(step))["seconds"]
    return 0, 0.0


def _another(settings: dict[str, Any]) -> bool:
    """Whether the settings make it another experiment than the published one."""
    return not set(settings) <= {"seed", *FREE_KEYS}


def _beside(row: Published | None, reports: dict[str, dict[str, Any]], comparable: bool) -> dict[str, Any] | None:
    """The published figures with ours; `beaten` is null where the two cannot be compared."""
    if row is None:
        return None
    figures = [
        {
            **dataclasses.asdict(figure),
            "ours": ours(figure, reports),
            "beaten": beaten(figure, reports) if comparable else None,
        }
        for figure in row.figures
    ]
    return {
        "family": row.family,
        "parameters": row.params,
        "note": row.note,
        "figures": figures,
    }


def curve(path: Path, most: int = CURVE_POINTS) -> list[dict[str, Any]]:
    """The course of a run from its `metrics.jsonl`: loss and seconds of training, the figures of validation; null where
    a step has none. At most so many points: those of validation first, the others evenly."""
    points: dict[int, dict[str, Any]] = {}
    lines = path.read_text().splitlines() if path.exists() else []  # not there before the first is logged
    for line in lines:
        values = json.loads(line)
        keys = ("loss", "seconds") if values["split"] == "train" else ("sequence_accuracy", "localization_error")
        empty = dict.fromkeys(("seconds", "sequence_accuracy", "localization_error", "loss"))
        point = points.setdefault(values["step"], {"step": values["step"], **empty})
        point.update({key: values.get(key) for key in keys})
    validated = [step for step, point in points.items() if point["sequence_accuracy"] is not None]
    kept = _thin(validated, most)
    kept += _thin([step for step in points if step not in validated], most - len(kept))
    return [points[step] for step in sorted(kept)]


def _thin(items: list[int], most: int) -> list[int]:
    """At most so many, evenly, the last one among them.

    >>> _thin([1, 2, 3, 4, 5, 6], 3), _thin([1, 2], 3), _thin([1, 2], 0)
    ([2, 4, 6], [1, 2], [])
    """
    count = min(most, len(items))
    return [items[(i + 1) * len(items) // count - 1] for i in range(count)]
