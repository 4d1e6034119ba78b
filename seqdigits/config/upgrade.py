"""Upgrades configs that earlier versions saved: renames keys, values, and the words of layer texts.

Workdirs, checkpoints, weight files and results contain saved configs. All code that loads one calls `upgrade` first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from seqdigits.config.defaults import DEFAULTS
from seqdigits.core.errors import UserError

RENAMED_KEYS = {
    "read.min_score": "decode.min_score",
    "read.max_overlap": "decode.max_overlap",
    "read.max_numbers": "decode.max_numbers",
    "read.group": "decode.group_digits",
    "read.halvings": "decode.octaves",
    "read.slope": "decode.platt_scale",
    "read.offset": "decode.platt_bias",
    "read.temperature": "decode.temperature",
    "data.grey": "data.gray",
    "data.colour": "data.color",
    "loss.no_digit": "loss.no_digit_weight",
    "loss.background": "loss.background_weight",
    "optim.plan": "optim.boundaries",
}
"""Old key -> new key."""

RENAMED_VALUES = {
    "data.source": {"plain": "device", "stream": "tfrecord"},
    "data.photographs": {"own": "folder"},
    "data.composition": {"turned": "rotated", "centred": "centered"},
    "model.name": {"reader": "dense_detector"},
    "loss.target": {"several": "center_sampling", "gaussian": "heatmap"},
    "optim.schedule": {"plan": "piecewise"},
}
"""New key -> old value -> new value."""

RENAMED_LAYERS = {"fold": "space_to_depth", "unfold": "depth_to_space", "mark": "keep", "join": "concat"}
"""Old word of a layer -> new word, in the values of LAYER_KEYS."""

RENAMED_METRICS = {"centre_error": "center_error", "otherwise_than_in_training": "differs_from_training"}
"""Old name of a metric in the report of a split -> new name."""

LAYER_KEYS = ("model.encoder", "model.head", "model.box_head")
"""Keys whose values are layers as text."""


def upgrade(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns a saved config with the current keys, values and words; a current one is returned equal.

    Scenes of an unknown version get version 1, which cannot be made any more, so that they are not taken for current ones.

    Args:
      saved: sections by name, as in JSON; keys may be missing. It is not modified.

    >>> upgrade({"seed": 3, "read": {"group": True}, "model": {"name": "reader", "encoder": "fold 2, mark a, join a"}})
    {'seed': 3, 'decode': {'group_digits': True}, 'model': {'name': 'dense_detector', 'encoder': 'space_to_depth 2, keep a, concat a'}}
    """
    config: dict[str, Any] = {}
    for section, keys in saved.items():
        if not isinstance(keys, dict):
            config[section] = keys
            continue
        names = {key: RENAMED_KEYS.get(f"{section}.{key}", f"{section}.{key}") for key in keys}
        config[{"read": "decode"}.get(section, section)] = {
            name.partition(".")[2]: upgrade_value(name, keys[key]) for key, name in names.items()
        }
    if isinstance(config.get("data"), dict) and config["data"].get("composition") == "scene":
        config["data"].setdefault("scene_version", 1)  # the first scenes, which had no key for it
    if isinstance(config.get("data"), dict):
        for key in ignored_sizes(config["data"]) & config["data"].keys():  # earlier versions allowed any value
            config["data"][key] = DEFAULTS[f"data.{key}"]
    return config


def ignored_sizes(data: Mapping[str, Any]) -> set[str]:
    """Returns the keys of sizes in the section `data` that its composition ignores, because its data set has them.

    >>> sorted(ignored_sizes({"composition": "crop", "half_scenes": True}))
    ['test_examples', 'validation_examples']
    """
    if data.get("composition") == "digit":
        return {"height", "width", "train_examples", "validation_examples", "test_examples"}
    if data.get("composition") in ("photograph", "crop", "cropped_digit"):
        of_scenes = set() if data.get("half_scenes") else {"train_examples"}
        return {"validation_examples", "test_examples"} | of_scenes
    return set()


def upgrade_value(key: str, value: Any) -> Any:
    """Returns the current name of a value of a key.

    >>> upgrade_value("optim.schedule", "plan"), upgrade_value("optim.learning_rate", 0.1)
    ('piecewise', 0.1)
    """
    if key in LAYER_KEYS:
        return _rename_layers(value, RENAMED_LAYERS)
    names = RENAMED_VALUES.get(key)
    return names.get(value, value) if names else value


def _rename_layers(text: str, names: dict[str, str]) -> str:
    """Returns a layer text with the first word of each layer renamed."""
    return re.sub(rf"(^|,)(\s*)({'|'.join(names)})(?=\s)", lambda m: m[1] + m[2] + names[m[3]], text)


def check_renamed(key: str, value: Any, name: str) -> None:
    """Refuses an old name.

    Args:
      key: config key, with its section.
      value: its value; None = only the key is checked.
      name: how the message names the key, such as --set data.source.

    Raises:
      UserError: the key, its value or a layer word was renamed; the message has the new name.
    """
    if key in RENAMED_KEYS:
        raise UserError(f"{name}: this key was renamed to {RENAMED_KEYS[key]}.")
    if value is None:
        return
    new = upgrade_value(key, value)
    if new != value and value == value:  # NaN, which differs from itself, has no new name
        raise UserError(f"{name} = {value!r}: this value was renamed to {new!r}.")


def old_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns settings by key as the version before the renaming named them, sorted by key.

    >>> old_names({"data.source": "device", "loss.background_weight": 0.4, "seed": 1})
    {'data.source': 'plain', 'loss.background': 0.4, 'seed': 1}
    """
    keys = {new: old for old, new in RENAMED_KEYS.items()}
    layers = {new: old for old, new in RENAMED_LAYERS.items()}
    old = {}
    for key, value in settings.items():
        if key in LAYER_KEYS:
            value = _rename_layers(value, layers)
        values = {new: name for name, new in RENAMED_VALUES.get(key, {}).items()}
        old[keys.get(key, key)] = values.get(value, value)
    return dict(sorted(old.items()))


def upgrade_record(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the record of a run with upgraded configs: its own, and those of its initialization.

    Args:
      record: has `config`, and may have `initialized_from` (`begun_with` in earlier versions), which is such a
        record or None. Other keys are kept. It is not modified.
    """
    upgraded = {"initialized_from" if key == "begun_with" else key: value for key, value in record.items()}
    if "config" in upgraded:
        upgraded["config"] = upgrade(upgraded["config"])
    if upgraded.get("initialized_from"):
        upgraded["initialized_from"] = upgrade_record(upgraded["initialized_from"])
    return upgraded


def upgrade_result(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of `seqdigits reproduce`, as JSON, with current names; it is not modified."""
    upgraded = upgrade_record(result)
    settings = {RENAMED_KEYS.get(key, key): value for key, value in upgraded["settings"].items()}
    upgraded["settings"] = {key: upgrade_value(key, value) for key, value in settings.items()}
    upgraded["reports"] = {split: upgrade_report(report) for split, report in upgraded["reports"].items()}
    if any(_counts_boxes_of_empty_images(report) for report in result["reports"].values()):
        upgraded["curve"] = [point | {"localization_error": None} for point in upgraded["curve"]]
    upgraded.pop("published", None)  # earlier versions copied the published values
    return upgraded


def upgrade_report(report: dict[str, Any]) -> dict[str, Any]:
    """Returns the report of a split with the current names of metrics; it is not modified.

    An earlier version counted the boxes of images without a digit, which have none: these metrics become None.
    """
    upgraded = {RENAMED_METRICS.get(key, key): value for key, value in report.items()}
    if _counts_boxes_of_empty_images(report):
        upgraded |= dict.fromkeys(("localization_error", "center_error", "iou"))
    return upgraded


def _counts_boxes_of_empty_images(report: dict[str, Any]) -> bool:
    """Returns whether the metrics of boxes are means over images without a digit too: older reports have no standard error."""
    return "0" in report.get("examples_by_length", {}) and "localization_error_standard_error" not in report
