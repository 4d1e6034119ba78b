"""How weights come into the package, and how they are measured for their model card; see pretrained.py for the commands."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from seqdigits import experiments, model_card, pretrained, provenance, results, weights
from seqdigits.config import base_config
from seqdigits.data import archive, sources, views
from seqdigits.data.digits import data_folder
from seqdigits.errors import UserError
from seqdigits.evaluate import Evaluator, restore, table
from seqdigits.interrupt import Stop
from seqdigits.report import half_interval
from seqdigits.steps import Steps
from seqdigits.validation import validate
from seqdigits.writers import make_folder, write_atomically

MOST_BYTES = 4_000_000
"""Of a file of weights in the package."""


class Target(NamedTuple):
    """Test data that weights are measured on: those of one of our configs.

    Attributes:
      label: what it is called, in a word.
      what: for the model card.
      config: the experiment whose section `data` says what is read.
      settings: keys that differ from it, of `data` and `read`. The rest of `read` is as the weights were trained.
    """

    label: str
    what: str
    config: str
    settings: Mapping[str, Any]


_ALL_ONE_NUMBER = {"read.max_numbers": 1, "read.group": False}
"""All digits of an image are taken for it."""
_SEVERAL_NUMBERS = {"read.max_numbers": 3, "read.group": True}
_COLOUR = {"data.rgb": True}
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
            "made scenes of 64x128 with 1 to 3 numbers, of digits and type faces that were not trained on",
            "reader_scene",
            _SEVERAL_NUMBERS,
        ),
        Target("canvas", _CANVAS, "reader_canvas", _ALL_ONE_NUMBER | _COLOUR),
        Target("strip", _STRIP, "reader_strip5", _ALL_ONE_NUMBER | _COLOUR),
        Target("digit", _DIGIT, "reader_mnist", _ALL_ONE_NUMBER | _COLOUR),
        Target(
            "photograph",
            "house numbers, the first 500 photographs of SVHN's test set, whole, squeezed to 128x256 and to 3/4, 1/2 and 3/8 of that",
            "reader_svhn",
            {"read.max_numbers": 1, "read.group": True, "read.halvings": 1},  # the best of the numbers in it
        ),
        Target(
            "crop",
            "the same photographs, cut out around the true box, 64x64",
            "reader_svhn_crop",
            _ALL_ONE_NUMBER,
        ),
    ),
}
"""By the name of the weights."""


# --- into the package ---------------------------------------------------------------------------------------------


def ship(name: str, result: Path, *, partial: bool = False) -> dict[str, Any]:
    """Makes the weights of a run those of a name: writes NAME.npz, NAME.json and NAME.md, and their SHA-256 last. Figures of
    earlier weights of that name are gone.

    Args:
      name: one of pretrained.NAMES.
      result: RESULT.json of `seqdigits.reproduce --weights`; RESULT.npz lies beside it.
      partial: whether a run that did not come to its end will do.

    Returns:
      What is in NAME.json: `result` (the run's name), `settings`, `config` (whole), `config_sha256`, `seed`, `commit` (of the
      training), `devices`, `cores`, `python`, `versions`, `steps`, `steps_planned`, `partial`, `minutes`, `parameters`,
      `images` (trained on, counted each time), `bytes`, `sha256`, and `figures` (see `measure`; none yet).

    Raises:
      UserError: the files are missing, damaged or of two runs, or the weights may not be shipped.
    """
    pretrained.check_name(name)
    facts, content = _facts(result)
    _refuse(facts, result, partial)
    make_folder(pretrained.FOLDER, "the folder of the package's weights")
    write_atomically(pretrained.FOLDER / f"{name}.npz", content)
    _write(name, facts)
    sums = {**pretrained.sums(), name: facts["sha256"]}
    write_atomically(pretrained.FOLDER / pretrained.SUMS, json.dumps(sums, indent=1, sort_keys=True) + "\n")
    file = pretrained.path(name)
    print(f"{file}, {len(content):,} bytes; now: python -m seqdigits.pretrained measure {name}", flush=True)
    return facts


def _facts(result: Path) -> tuple[dict[str, Any], bytes]:
    """What is known of a run's weights, and the bytes of the file to ship: that of the run, but that how they are read is as
    the experiment's file has it now, for they may have been calibrated since."""
    file = result.with_suffix(".npz")
    variables, about = weights.load(file)  # refuses what is no file of weights
    try:
        run = json.loads(result.read_text())
        facts = {"result": run["name"], "commit": run["trained"][-1]["commit"] or run["commit"], **_some(run, _OF_RUN)}
        facts["images"] = run["steps"] * run["config"]["train"]["batch_size"]
    except (OSError, ValueError, LookupError, TypeError) as e:
        raise UserError(
            f"{result} is no result of seqdigits.reproduce: {e!r}. python -m seqdigits.reproduce NAME --weights writes it."
        ) from e
    if (about["step"], about["config"]) != (run["steps"], run["config"]):
        raise UserError(
            f"{file} is not of the run of {result}: step {about['step']:,} there and {run['steps']:,} here, or another config. "
            "Take both from one run of seqdigits.reproduce --weights."
        )
    base = facts["result"].split("+")[0]
    if base in experiments.names():
        read = experiments.load(base).read
        read.update({key[5:]: value for key, value in facts["settings"].items() if key.startswith("read.")})
        facts["config"] = {**facts["config"], "read": read.to_dict()}
        facts["config_sha256"] = results.digest(facts["config"])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        weights.save(
            copy, variables, {**about, "config": facts["config"], "begun_with": facts["begun_with"]}, half=True
        )
        content = copy.read_bytes()
    sizes = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {**facts, **sizes, "figures": {}}, content


_OF_RUN = (
    "settings",
    "config",
    "begun_with",
    "config_sha256",
    "seed",
    "devices",
    "cores",
    "python",
    "versions",
    "steps",
    "steps_planned",
    "partial",
    "minutes",
    "parameters",
)


def _some(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys}


def _refuse(facts: dict[str, Any], result: Path, partial: bool) -> None:
    """Refuses weights that may not be in the package."""
    if facts["bytes"] > MOST_BYTES:
        raise UserError(
            f"the weights of {result} have {facts['bytes']:,} bytes, at most {MOST_BYTES:,} are allowed. Half precision is what "
            "seqdigits.reproduce --weights writes; else train a smaller network."
        )
    if facts["partial"] and not partial:
        raise UserError(
            f"{result} is partial: {facts['steps']:,} of {facts['steps_planned']:,} steps. Run it to its end, or say --partial; "
            "the model card will say it too."
        )
    model = facts["config"]["model"]
    if model["name"] != "reader" or model["pixels"] == "per_pixel":
        raise UserError(
            f"model.name = {model['name']}, model.pixels = {model['pixels']}: weights of the package are for images of any size. "
            "Only model.name = reader reads these, and not with model.pixels = per_pixel."
        )
    for stage, config in _stages(facts):
        if config["data"]["composition"] in views.KINDS:
            raise UserError(
                f"{stage} was trained on photographs (data.composition = {config['data']['composition']}), whose licence would "
                "pass to the weights: house numbers are for non-commercial use only. Ship what was trained on digits or scenes."
            )


def _stages(facts: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and config of a run, and of all that it began with, one behind the other, as they were when it did."""
    name, run = str(facts["result"]), facts
    yield name, run["config"]
    while run["config"]["init"]["path"]:
        if not run["begun_with"]:
            raise UserError(
                f"{name} began with {run['config']['init']['path']}, and what that was trained on is not known: it may have been "
                "photographs, whose licence would pass to the weights. Train it again from the first run on."
            )
        run = run["begun_with"]
        name = run["path"]
        yield name, run["config"]


def _write(name: str, facts: dict[str, Any]) -> None:
    """NAME.json, and the model card that is made of it."""
    write_atomically(pretrained.FOLDER / f"{name}.json", json.dumps(facts, indent=1) + "\n")
    write_atomically(pretrained.FOLDER / f"{name}.md", model_card.text(name, facts))


# --- measuring ----------------------------------------------------------------------------------------------------


def measure(
    name: str, *, only: tuple[str, ...] = (), limit: int | None = None, stop: Stop | None = None
) -> dict[str, Any]:
    """Evaluates the weights of a name on the test splits of its TARGETS, and writes NAME.json and NAME.md after each.

    Args:
      name: one of pretrained.NAMES; its weights are shipped.
      only: labels; () = all.
      limit: only the first so many examples of each, which the model card says; None = all.
      stop: ends it early; what is measured is kept.

    Returns:
      `figures` of NAME.json: by label None where the files are missing, else what was measured of _FIGURES, and `what`,
      `config` and `settings` of the target, `lengths` (fewest and most digits of an image), `half_interval` (of
      sequence_accuracy), `limit`, and `commit` and `devices` of the measuring.

    Raises:
      UserError: the weights or a label are unknown, or files are damaged.
      Stopped: `stop` was set before the end.
    """
    file, facts = pretrained.path(name), pretrained.facts(name)
    labels = [target.label for target in TARGETS[name]]
    for label in only:
        if label not in labels:
            raise UserError(f"--only {label}: {name} is measured on {', '.join(labels)}.")
    make_folder(pretrained.FOLDER, "the folder of the package's weights")
    for target in TARGETS[name]:
        if only and target.label not in only:
            continue
        config = configured(target, facts["config"])
        missing = _missing(config)
        if missing:
            print(f"{target.label}: not measured: {missing}", flush=True)
        row = None if missing else _measured(target, config, file, limit, stop)
        now = pretrained.facts(name)  # another command may have measured meanwhile
        if now["sha256"] != facts["sha256"]:
            raise UserError(
                f"other weights were shipped as {name} meanwhile: what was measured is not theirs. Measure again."
            )
        found = now["figures"]
        if row or target.label not in found:  # what was measured where the data are stays
            found[target.label] = row
        facts = {**now, "figures": {label: found[label] for label in labels if label in found}}
        _write(name, facts)
    print(table({label: row for label, row in facts["figures"].items() if row}), flush=True)
    print(pretrained.FOLDER / f"{name}.md", flush=True)
    return facts["figures"]


_FIGURES = (
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


def configured(target: Target, trained: dict[str, Any]) -> ConfigDict:
    """The config to measure with: the target's data, the model and `read` that weights were trained with, and the target's
    settings.

    Args:
      target: see Target.
      trained: the weights' config.

    Raises:
      UserError: the target's config is not there, or does not fit the weights.
    """
    if target.config not in experiments.names():
        raise UserError(
            f"there is no config {target.config} in {experiments.CONFIGS}. Measure in the source tree, which has them."
        )
    config = experiments.load(target.config)
    default = base_config()
    for section in ("model", "read", "loss"):
        config[section] = default[section]
        config[section].update(trained[section])
    config.init = default.init
    config.data = sources.as_read(config).data  # nothing is trained
    config.update_from_flattened_dict(dict(target.settings))
    validate(config)
    return config


def _missing(config: ConfigDict) -> str:
    """Why there is nothing to measure on: photographs are not downloaded. "" where all is there."""
    if config.data.composition in views.KINDS:
        try:
            archive.place(data_folder(config.data.folder) / archive.SUBFOLDER, "test")
        except UserError as e:
            return str(e)
    return ""


def _measured(target: Target, config: ConfigDict, file: Path, limit: int | None, stop: Stop | None) -> dict[str, Any]:
    restored = restore(config, pretrained.FOLDER, str(file), "test")
    steps = Steps(config, restored.model, restored.devices.axis)
    evaluator = Evaluator(steps, sources.create(config, "test"), restored.devices)
    figures = evaluator.figures(restored.variables, limit, target.label, stop)
    program = provenance.describe()
    return {
        "what": target.what,
        "config": target.config,
        "settings": dict(target.settings),
        "lengths": [config.data.min_length, config.data.max_length],
        **_some(figures, _FIGURES),
        "half_interval": half_interval(figures["sequence_accuracy"], figures["examples"]),
        "limit": limit,
        "commit": program["commit"],
        "devices": program["devices"],
    }
