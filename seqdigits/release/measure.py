"""Measures published weights on the test data that they are meant for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from seqdigits.checkpoint import pretrained
from seqdigits.config.defaults import base_config
from seqdigits.config.registry import CONFIGS, config_names, load_config
from seqdigits.config.saved import complete_config
from seqdigits.config_checks.validate import validate
from seqdigits.core import provenance
from seqdigits.core.errors import UserError
from seqdigits.core.files import data_folder, make_folder
from seqdigits.core.interrupt import Stop
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.data.photos import svhn_archive
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.evaluation.restore import restore
from seqdigits.evaluation.table import report_table
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics.intervals import half_interval
from seqdigits.release.facts import selected, write_facts


class Target(NamedTuple):
    """Test data that weights are measured on: those of one config.

    Attributes:
      label: one word for tables.
      what: description for the model card.
      config: the experiment whose section `data` is used.
      settings: keys of `data` and `decode` that differ from it. The other keys of `decode` are those of the weights.
    """

    label: str
    what: str
    config: str
    settings: Mapping[str, Any]


_ALL_ONE_NUMBER = {"decode.max_numbers": 1, "decode.group_digits": False}
"""All digits of an image are decoded as one number."""
_SEVERAL_NUMBERS = {"decode.max_numbers": 3, "decode.group_digits": True}
_COLOR = {"data.rgb": True}
_CANVAS = "1 to 5 digits of MNIST's test set anywhere on a black canvas of 128x256"
_STRIP = "5 digits of MNIST's test set side by side, 28x140"
_DIGIT = "single digits, MNIST's test set, 28x28"

TARGETS = {
    "handwriting": (
        Target("canvas", _CANVAS, "reader_canvas", _ALL_ONE_NUMBER),
        Target("strip", _STRIP, "reader_strip5", _ALL_ONE_NUMBER),
        Target("digit", _DIGIT, "reader_mnist", _ALL_ONE_NUMBER),
    ),
    "scene": (
        Target(
            "scene",
            "synthetic scenes of 64x128 with 0 to 3 numbers, with digits and type faces that are not in training",
            "reader_scene",
            _SEVERAL_NUMBERS,
        ),
        Target("canvas", _CANVAS, "reader_canvas", _ALL_ONE_NUMBER | _COLOR),
        Target("strip", _STRIP, "reader_strip5", _ALL_ONE_NUMBER | _COLOR),
        Target("digit", _DIGIT, "reader_mnist", _ALL_ONE_NUMBER | _COLOR),
        Target(
            "photograph",
            "house numbers, the first 500 photographs of SVHN's test set, uncropped, resized to 128x256 and to 3/4, 1/2 and 3/8 of that",
            "reader_svhn",
            {
                "decode.max_numbers": 1,
                "decode.group_digits": True,
                "decode.octaves": 1,
            },  # the best number of the image
        ),
        Target(
            "crop",
            "the same photographs, cropped to the true box, 64x64",
            "reader_svhn_crop",
            _ALL_ONE_NUMBER,
        ),
    ),
}
"""Targets by the name of the weights."""


def measure(
    name: str, *, only: tuple[str, ...] = (), limit: int | None = None, stop: Stop | None = None
) -> dict[str, Any]:
    """Evaluates the weights of a name on the test splits of its TARGETS, and writes NAME.json and NAME.md after each.

    Args:
      name: one of pretrained.NAMES; its weights are published.
      only: labels; () = all.
      limit: number of examples of each target, the first ones, stated in the model card; None = all.
      stop: ends it early; what is measured until then is kept.

    Returns:
      `metrics` of NAME.json, by label: None where the data are unavailable, else the values of _METRICS, `what`, `config` and
      `settings` of the target, `lengths` (fewest and most digits of an image), `half_interval` (of sequence_accuracy),
      `limit`, and `commit` and `devices` of the measurement.

    Raises:
      UserError: the weights or a label are unknown, or files are damaged.
      Stopped: `stop` was set before the end.
    """
    file, facts = pretrained.path(name), pretrained.facts(name)
    labels = [target.label for target in TARGETS[name]]
    for label in only:
        if label not in labels:
            raise UserError(f"--only {label}: {name} is measured on {', '.join(labels)}.")
    make_folder(pretrained.FOLDER, "the folder of the pretrained weights")
    for target in TARGETS[name]:
        if only and target.label not in only:
            continue
        config = configured(target, facts["config"], pretrained.FOLDER / f"{name}.json")
        missing = _missing(config)
        if missing:
            print(f"{target.label}: not measured: {missing}", flush=True)
        row = None if missing else _measured(target, config, file, limit, stop)
        now = pretrained.facts(name)  # another command may have added rows
        if now["sha256"] != facts["sha256"]:
            raise UserError(f"the weights of {name} were replaced during the measurement. Measure again.")
        found = now["metrics"]
        if row or target.label not in found:  # a row that was measured elsewhere stays
            found[target.label] = row
        facts = {**now, "metrics": {label: found[label] for label in labels if label in found}}
        write_facts(name, facts)
    print(report_table({label: row for label, row in facts["metrics"].items() if row}), flush=True)
    print(pretrained.FOLDER / f"{name}.md", flush=True)
    return facts["metrics"]


_METRICS = (
    "examples",
    "sequence_accuracy",
    "digit_accuracy",
    "length_accuracy",
    "number_recall",
    "number_precision",
    "localization_error",
    "iou",
    "calibration_error",
    "coverage_at_98",
    "accuracy_by_length",
)


def configured(target: Target, trained: dict[str, Any], source: Path) -> ConfigDict:
    """Returns the config to measure with: the data of the target, the model and decoding of the weights.

    Args:
      target: see Target. Its settings override both.
      trained: config of the weights.
      source: the file that has it, for the error.

    Raises:
      UserError: the config of the target is missing, or does not fit the weights, or these are of another version.
    """
    if target.config not in config_names():
        raise UserError(f"{CONFIGS} has no config {target.config}. Reinstall seqdigits, of which it is a part.")
    config = load_config(target.config)
    default = base_config()
    sections = ("model", "decode", "loss")
    own = complete_config({name: trained[name] for name in sections if name in trained}, source)
    for name in sections:
        config[name] = own[name]
    config.init = default.init
    config.data = as_evaluated(config).data  # nothing is trained
    config.update_from_flattened_dict(dict(target.settings))
    validate(config)
    return config


def _missing(config: ConfigDict) -> str:
    """Returns why the data are unavailable (photographs that are not downloaded); "" where they are available."""
    if config.data.composition in PHOTO_COMPOSITIONS:
        try:
            svhn_archive.place(data_folder(config.data.folder) / svhn_archive.SUBFOLDER, "test")
        except UserError as e:
            return str(e)
    return ""


def _measured(target: Target, config: ConfigDict, file: Path, limit: int | None, stop: Stop | None) -> dict[str, Any]:
    """Returns the row of one target, see measure."""
    restored = restore(config, pretrained.FOLDER, str(file), "test")
    step = PredictStep(config, restored.model)
    evaluator = Evaluator(step, create_source(config, "test"), restored.devices)
    metrics = evaluator.evaluate(restored.variables, limit, target.label, stop)
    program = provenance.describe()
    return {
        "what": target.what,
        "config": target.config,
        "settings": dict(target.settings),
        "lengths": [config.data.min_length, config.data.max_length],
        **selected(metrics, _METRICS),
        "half_interval": half_interval(metrics["sequence_accuracy"], metrics["examples"]),
        "limit": limit,
        "commit": program["commit"],
        "devices": program["devices"],
    }
