"""The result of a run as a small JSON file: config, provenance, metrics, curve."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqdigits.checkpoint import layout as checkpoint_layout
from seqdigits.checkpoint.manifest import DamagedCheckpoint, read_meta
from seqdigits.config.defaults import RESUMABLE_KEYS
from seqdigits.config.saved import digest, to_json
from seqdigits.config.upgrade import upgrade_result
from seqdigits.core import provenance
from seqdigits.experiments.run_folder import read_metrics

CURVE_POINTS = 100

UNNAMED_KEYS = ("train.steps_per_call",)
"""Settings that change results by rounding only: they are neither in the name of a run nor in its `settings`."""


@dataclasses.dataclass(frozen=True)
class TrainedPart:
    """A part of a run that was trained by one command.

    Attributes:
      step: step after which it begins.
      commit: commit of the program, with "+" if files differed; None where it is unknown.
      devices: devices that trained it.
      steps_per_call: train.steps_per_call of the part; None in older results.
    """

    step: int
    commit: str | None
    devices: list[str]
    steps_per_call: int | None = None


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """A step of the training curve; None for a metric that was not measured there."""

    step: int
    seconds: float | None = None
    sequence_accuracy: float | None = None
    localization_error: float | None = None
    loss: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a completed run; as JSON, keys are in the order of these attributes.

    Attributes:
      name: name of the run.
      settings: keys that differ from the config file, as in the name. train.steps_per_call is not among them, since it does
        not change the experiment; `trained` records it.
      config: config of the complete schedule, settings included.
      config_sha256: SHA-256 of the config.
      seed: seed of the config.
      commit: commit of the program that completed it; devices, cores, python and versions belong to it too.
      devices: kinds of the devices.
      cores: number of CPU cores of the machine.
      python: version of Python.
      versions: versions of packages, by name.
      trained: parts of the run, first to last.
      initialized_from: the run that it was initialized from, recursively; None: random initialization; {}: not recorded, in
        older results.
      steps: number of trained steps.
      steps_planned: number of steps in the config file.
      fraction: trained fraction of these.
      partial: whether it is below 1.
      comparable: whether it is the complete experiment as its config file has it, whatever the seed.
      minutes: time of training, evaluations included.
      parameters: number of trained parameters.
      reports: metrics by split.
      curve: the training curve.
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
    curve: list[CurvePoint]

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Decodes a result; names of earlier versions are upgraded.

        Raises:
          ValueError, TypeError, KeyError, AttributeError: it is not JSON, lacks keys, has unknown ones, or its config is not
            that of its `config_sha256`.
        """
        saved = json.loads(text)
        if digest(saved["config"]) != saved["config_sha256"]:
            raise ValueError("config_sha256 is not the SHA-256 of config")
        values = upgrade_result(saved)
        if values["config"] != saved["config"]:
            values["config_sha256"] = digest(values["config"])
        trained = [TrainedPart(**part) for part in values["trained"]]
        points = [CurvePoint(**point) for point in values["curve"]]
        return cls(**values | {"trained": trained, "curve": points})

    def to_json(self) -> str:
        """Encodes the result. What an older result did not record stays absent."""
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
    config: ConfigDict,
    settings: dict[str, Any],
    planned: int,
    workdir: Path,
    program: dict[str, Any],
    parameters: int,
) -> Result:
    """Collects the result of a completed run.

    Args:
      name: name of the run.
      config: config of the complete schedule, settings included.
      settings: keys that differ from the config file.
      planned: steps in the config file.
      workdir: workdir of the run.
      program: provenance.describe() at the start of the series.
      parameters: number of trained parameters.
    """
    reports = _reports(config, workdir)
    steps, seconds = progress(workdir)
    trained = provenance.read(workdir)
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
        comparable=steps >= planned and not _is_another_experiment(settings),
        minutes=round(seconds / 60, 2),
        parameters=parameters,
        reports=reports,
        curve=curve(workdir / "metrics.jsonl"),
    )


def _initialized_from(config: ConfigDict, workdir: Path, step: int) -> dict[str, Any] | None:
    """Returns the run that this one was initialized from, recursively; None for random initialization.

    Its path is the one in the config, wherever the series kept that run.
    """
    origin = read_meta(checkpoint_layout.checkpoints_folder(workdir) / str(step)).get("initialized_from")
    return origin and {**origin, "path": config.init.path}


_LONG = ("split", "confusion", "reliability")


def _reports(config: ConfigDict, workdir: Path) -> dict[str, dict[str, Any]]:
    """Returns the metrics by split, without confusion matrices and reliability, which are long and stay in the workdir."""
    reports = {}
    for split in config.evaluate.splits:
        report = json.loads((workdir / "evaluation" / f"{split}.json").read_text())
        reports[split] = {key: value for key, value in report.items() if key not in _LONG}
    return reports


def progress(workdir: Path) -> tuple[int, float]:
    """Returns the last saved step and the seconds up to it, evaluations included; (0, 0.0) where nothing is saved."""
    folder = checkpoint_layout.checkpoints_folder(workdir)
    for step in reversed(checkpoint_layout.all_steps(folder)):
        with contextlib.suppress(DamagedCheckpoint):  # the one before counts
            return step, read_meta(folder / str(step))["seconds"]
    return 0, 0.0


def _is_another_experiment(settings: dict[str, Any]) -> bool:
    """Returns whether the settings make it another experiment than that of the config file."""
    changing = {key for key in settings if key not in RESUMABLE_KEYS or key.startswith("decode.")}
    return not changing <= {"seed"}


def curve(path: Path, most: int = CURVE_POINTS) -> list[CurvePoint]:
    """Reads the training curve from `metrics.jsonl` (see `read_metrics`): loss and seconds of train, metrics of validation.

    A metric is None where a step has none. At most `most` points are returned: those of validation first, the others evenly
    spaced.
    """
    points: dict[int, CurvePoint] = {}
    for values in read_metrics(path):
        if values["split"] not in ("train", "validation"):
            continue
        keys = ("loss", "seconds") if values["split"] == "train" else ("sequence_accuracy", "localization_error")
        point = points.get(values["step"], CurvePoint(values["step"]))
        found: dict[str, Any] = {key: values.get(key) for key in keys}
        points[point.step] = dataclasses.replace(point, **found)
    validated = [step for step, point in points.items() if point.sequence_accuracy is not None]
    kept = _thin(validated, most)
    kept += _thin([step for step in points if step not in validated], most - len(kept))
    return [points[step] for step in sorted(kept)]


def _thin(items: list[int], most: int) -> list[int]:
    """Returns at most `most` items, evenly spaced, with the last one.

    >>> _thin([1, 2, 3, 4, 5, 6], 3), _thin([1, 2], 3), _thin([1, 2], 0)
    ([2, 4, 6], [1, 2], [])
    """
    count = min(most, len(items))
    return [items[(i + 1) * len(items) // count - 1] for i in range(count)]
