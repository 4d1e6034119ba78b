"""Renames what saved configs of earlier versions call otherwise: keys, values, and the words of layer texts.

Saved configs lie in workdirs, checkpoints, weight files and results. Whatever reads one calls `upgrade` first.
"""

from __future__ import annotations

import re
from typing import Any

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
"""Old key -> key."""

RENAMED_VALUES = {
    "data.source": {"plain": "device", "stream": "tfrecord"},
    "data.photographs": {"own": "folder"},
    "data.composition": {"turned": "rotated", "centred": "centered"},
    "model.name": {"reader": "dense_detector"},
    "loss.target": {"several": "center_sampling", "gaussian": "heatmap"},
    "optim.schedule": {"plan": "piecewise"},
}
"""Key -> old value -> value."""

RENAMED_LAYERS = {"fold": "space_to_depth", "unfold": "depth_to_space", "mark": "keep", "join": "concat"}
"""Old word of a layer -> word, in LAYER_KEYS."""

RENAMED_METRICS = {"centre_error": "center_error", "otherwise_than_in_training": "differs_from_training"}
"""Old name in a report of a split -> name."""

LAYER_KEYS = ("model.encoder", "model.head", "model.box_head")


def upgrade(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns a saved config in the names of today; one that has them already is returned equal.

    Args:
      saved: sections by name, as in JSON; keys may be missing. It is not changed.

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
    return config


def upgrade_value(key: str, value: Any) -> Any:
    """Returns the value of a key in the names of today.

    >>> upgrade_value("optim.schedule", "plan"), upgrade_value("optim.learning_rate", 0.1)
    ('piecewise', 0.1)
    """
    if key in LAYER_KEYS:
        return re.sub(r"(?<!\w)(fold|unfold|mark|join)(?= )", lambda word: RENAMED_LAYERS[word[0]], value)
    names = RENAMED_VALUES.get(key)
    return names.get(value, value) if names else value


def upgrade_record(record: dict[str, Any]) -> dict[str, Any]:
    """Returns what is saved of a run in the names of today: its config, and that of each run it was initialized from.

    Args:
      record: with `config` and perhaps `initialized_from` (earlier `begun_with`), itself such a record or None; other keys
        stay. It is not changed.
    """
    found = {"initialized_from" if key == "begun_with" else key: value for key, value in record.items()}
    if "config" in found:
        found["config"] = upgrade(found["config"])
    if found.get("initialized_from"):
        found["initialized_from"] = upgrade_record(found["initialized_from"])
    return found


def upgrade_result(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON of a result of `seqdigits reproduce` in the names of today. It is not changed."""
    found = upgrade_record(result)
    settings = {RENAMED_KEYS.get(key, key): value for key, value in found["settings"].items()}
    found["settings"] = {key: upgrade_value(key, value) for key, value in settings.items()}
    found["reports"] = {split: upgrade_report(report) for split, report in found["reports"].items()}
    published = found["published"]
    if published is not None and "figures" in published:
        metrics = [{"improves" if k == "beaten" else k: v for k, v in one.items()} for one in published["figures"]]
        found["published"] = {"metrics" if k == "figures" else k: v for k, v in published.items()} | {
            "metrics": metrics
        }
    return found


def upgrade_report(report: dict[str, Any]) -> dict[str, Any]:
    """Returns the metrics of a split in the names of today. They are not changed."""
    return {RENAMED_METRICS.get(key, key): value for key, value in report.items()}
