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
from seqdigits.config.defaults import RESUMABLE_KEYS, digest, to_json
from seqdigits.config.upgrade import upgrade_result
from seqdigits.experiments.published import PUBLISHED, Published, improves, ours

CURVE_POINTS = 100

UNNAMED_KEYS = ("train.steps_per_call",)
"""Settings that change what is trained by rounding alone, so that neither the name of a run nor its `settings` have them."""


@dataclasses.dataclass(frozen=True)
class TrainedPart:
    """A part of a run that was trained by one command.

    Attributes:
      step: after which it begins.
      commit: of the program, "+" behind it where files differed; None where it is not known.
      devices: that trained it.
      steps_per_call: train.steps_per_call of the part; None in older results.
    """

    step: int
    commit: str | None
    devices: list[str]
    steps_per_call: int | None = None


@dataclasses.dataclass(frozen=True)
class ComparedMetric:
    """A published figure and ours.

    Attributes:
      split: train | validation | test.
      metric: one of published.METRICS.
      value: as published.
      ours: None where it was not measured.
      beaten: None where the two cannot be compared.
    """

    split: str
    metric: str
    value: float
    ours: float | None
    improves: bool | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The published row of an experiment with our figures; the other attributes as of published.Published."""

    family: str
    parameters: int
    note: str
    metrics: list[ComparedMetric]


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """A step of the course of a run; None what it has no figure of."""

    step: int
    seconds: float | None = None
    sequence_accuracy: float | None = None
    localization_error: float | None = None
    loss: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What is kept of a run that came to its end; as JSON, keys in the order of these attributes.

    Attributes:
      name: of the run.
      settings: keys that differ from the experiment's file, as in the name: without train.steps_per_call, which makes
        no other run; what it was stands in `trained`.
      config: of the whole schedule, with the settings.
      config_sha256: of the config.
      seed: of the config.
      commit: of the program that finished it, as devices, cores, python and versions are.
      devices: kinds of the devices.
      cores: of the machine's processors.
      python: its version.
      versions: of packages, by name.
      trained: the parts of the run, first to last.
      initialized_from: what the run began with, and that in turn; None: with nothing; {}: not recorded, in older results.
      steps: trained.
      steps_planned: that the experiment's file has.
      fraction: of these that were trained.
      partial: whether these are fewer.
      comparable: whether it is the whole of the published experiment.
      minutes: of training with its evaluations.
      parameters: how many numbers are trained.
      reports: metrics by split.
      published: what was published of the experiment, with ours; None for experiments of our own.
      curve: the course of training.
    """

    name: str
    settings: dict[str, Any]
    config: dict[str, Any]
    config_sha256: str
    seed: int
    commit: str | None
    devices: list[str]
    cores: int | None
    python: str
    versions: dict[str, str | None]
    trained: list[TrainedPart]
    initialized_from: dict[str, Any] | None = dataclasses.field(default_factory=dict)
    steps: int
    steps_planned: int
    fraction: float
    partial: bool
    comparable: bool
    minutes: float
    parameters: int
    reports: dict[str, dict[str, Any]]
    published: Comparison | None
    curve: list[CurvePoint]

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Decodes a result.

        Raises:
          ValueError, TypeError, KeyError: it is no JSON, lacks keys, or has unknown ones.
        """
        values = upgrade_result(json.loads(text))
        trained = [TrainedPart(**part) for part in values["trained"]]
        points = [CurvePoint(**point) for point in values["curve"]]
        published = values["published"]
        if published is not None:
            published = Comparison(**published | {"metrics": [ComparedMetric(**one) for one in published["metrics"]]})
        return cls(**values | {"trained": trained, "published": published, "curve": points})

    def to_json(self) -> str:
        """Encodes the result; what older results have not recorded stays absent."""
        values = dataclasses.asdict(self)
        values["trained"] = [
            {key: value for key, value in part.items() if key != "steps_per_call" or value is not None}
            for part in values["trained"]
        ]
        if values["initialized_from"] == {}:
            del values["initialized_from"]
        return json.dumps(values, indent=1)


def collect(
    name: str,
    base: str,
    config: ConfigDict,
    settings: dict[str, Any],
    planned: int,
    workdir: Path,
    program: dict[str, Any],
    parameters: int,
) -> Result:
    """Collects what is kept of a run that came to its end.

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
    return Result(
        name=name,
        settings={key: value for key, value in settings.items() if key not in UNNAMED_KEYS},
        config=json.loads(to_json(config)),
        config_sha256=digest(config),
        seed=config.seed,
        commit=program["commit"],
        devices=program["devices"],
        cores=program["cores"],
        python=program["python"],
        versions=program["versions"],
        trained=[
            TrainedPart(part["step"], part["commit"], part["devices"], part.get("steps_per_call")) for part in trained
        ],
        initialized_from=_initialized_from(config, workdir, steps),
        steps=steps,
        steps_planned=planned,
        fraction=steps / planned,
        partial=steps < planned,
        comparable=comparable,
        minutes=round(seconds / 60, 2),
        parameters=parameters,
        reports=reports,
        published=_beside(PUBLISHED.get(base), reports, comparable),
        curve=curve(workdir / "metrics.jsonl"),
    )


def _initialized_from(config: ConfigDict, workdir: Path, step: int) -> dict[str, Any] | None:
    """What the run began with, and that in turn, as it was then; None where it began with nothing. It is called as the config
    calls it, wherever the series had it."""
    found = read_meta(checkpoint_layout.checkpoints_folder(workdir) / str(step)).get("initialized_from")
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
    folder = checkpoint_layout.checkpoints_folder(workdir)
    for step in reversed(checkpoint_layout.all_steps(folder)):
        with contextlib.suppress(OSError, ValueError, KeyError):  # not finished: the one before counts
            return step, read_meta(folder / str(step))["seconds"]
    return 0, 0.0


def _another(settings: dict[str, Any]) -> bool:
    """Whether the settings make it another experiment than the published one."""
    return not set(settings) <= {"seed", *RESUMABLE_KEYS}


def _beside(row: Published | None, reports: dict[str, dict[str, Any]], comparable: bool) -> Comparison | None:
    """Returns the published figures with ours; `improves` is None where the two cannot be compared."""
    if row is None:
        return None
    metrics = [
        ComparedMetric(
            **dataclasses.asdict(figure),
            ours=ours(figure, reports),
            improves=improves(figure, reports) if comparable else None,
        )
        for figure in row.metrics
    ]
    return Comparison(row.family, row.params, row.note, metrics)


def curve(path: Path, most: int = CURVE_POINTS) -> list[CurvePoint]:
    """Reads the course of a run from its `metrics.jsonl`: loss and seconds of training, the figures of validation; None where
    a step has none. At most so many points: those of validation first, the others evenly."""
    points: dict[int, CurvePoint] = {}
    lines = path.read_text().splitlines() if path.exists() else []  # not there before the first is logged
    for line in lines:
        values = json.loads(line)
        keys = ("loss", "seconds") if values["split"] == "train" else ("sequence_accuracy", "localization_error")
        point = points.get(values["step"], CurvePoint(values["step"]))
        points[point.step] = dataclasses.replace(point, **{key: values.get(key) for key in keys})
    validated = [step for step, point in points.items() if point.sequence_accuracy is not None]
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
