"""Configs as they are saved in workdirs, checkpoints, files of weights and results: as JSON, compared, completed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqdigits.config.defaults import DEFAULTS, RESUMABLE_KEYS, base_config
from seqdigits.core.errors import UserError, short


def to_json(config: ConfigDict) -> str:
    """Returns the config as JSON text, keys in their order."""
    return json.dumps(config.to_dict(), indent=2)


def complete_config(saved: Mapping[str, Any], source: Path) -> ConfigDict:
    """Returns a saved config with all keys; those that it lacks have their defaults.

    Args:
      saved: from config.upgrade, sections by name.
      source: the file or folder that has it, for the error.

    Raises:
      UserError: it has a key that is unknown, or a value of another type.
    """
    config = base_config()
    try:
        refused = [f"{key} = {value!r}" for key, value in _flat(saved).items() if key not in DEFAULTS or value is None]
        if refused:
            raise ValueError(", ".join(refused))
        config.update(saved)
    except (KeyError, AttributeError, TypeError, ValueError) as e:
        raise UserError(
            f"{source} has a config that this version cannot read: {short(e)}. Use the version that it was trained with."
        ) from e
    return config


def diff_configs(config: ConfigDict, saved: dict[str, Any], sections: tuple[str, ...] = ()) -> list[str]:
    """Returns the differences between a config and a saved one, each as "key: SAVED -> NEW".

    Args:
      config: the current config.
      saved: from `upgrade`. A key that it lacks counts as its default.
      sections: compares only these sections; () = every key that identifies a run, so all but RESUMABLE_KEYS.
    """
    now = _flat(json.loads(to_json(config)))
    then = {**_flat(json.loads(to_json(base_config()))), **_flat(saved)}
    custom = now["data.photographs"] == "folder"  # then the folder identifies the data
    free = set(RESUMABLE_KEYS) - ({"data.folder"} if custom else set())
    return [
        f"{key}: {then.get(key)!r} -> {now.get(key)!r}"
        for key in sorted(now.keys() | then.keys())
        if now.get(key) != then.get(key) and (key.split(".")[0] in sections if sections else key not in free)
    ]


def diff_results(config: ConfigDict, saved: dict[str, Any]) -> list[str]:
    """Returns the differences that change a result: those of `diff_configs`, and decoding, which a run may change."""
    return diff_configs(config, saved) + diff_configs(config, saved, sections=("decode",))


def digest(config: ConfigDict | dict[str, Any]) -> str:
    """Returns the SHA-256 of a config, independent of the order of its keys."""
    plain = config.to_dict() if isinstance(config, ConfigDict) else config
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
