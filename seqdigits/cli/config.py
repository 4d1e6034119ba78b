"""Prints a config with all keys, or the documentation of all keys.

`seqdigits config CONFIG [--config.key=value ...]` prints one config.
`seqdigits config --markdown > docs/configuration.md` writes the documentation.
"""

from __future__ import annotations

import json
import sys

from absl import flags
from ml_collections import ConfigDict

from seqdigits.config.defaults import DEFAULTS, KEYS, SECTIONS, Key, get
from seqdigits.config.flags import experiment_flags, parse, with_config
from seqdigits.config.upgrade import RENAMED_KEYS, RENAMED_LAYERS, RENAMED_METRICS, RENAMED_VALUES
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop

USAGE = "seqdigits config CONFIG [--config.key=value ...] | --markdown"


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_boolean(
        "markdown", False, "prints the documentation of all keys, without a config", flag_values=values
    )
    return values


def main(stop: Stop) -> None:
    """Runs `seqdigits config`."""
    del stop  # it ends at once
    if sys.argv[1:] == ["--markdown"]:
        print(markdown(), end="")
        return

    values = parse(command_line(), with_config(sys.argv), USAGE, __doc__, needed=("config",))
    if values["markdown"].value:
        raise UserError(f"--markdown documents the keys of every config. Leave out all else. usage: {USAGE}")
    print(text(values["config"].value))


def text(config: ConfigDict) -> str:
    """Returns every key with its value, one per line; those that differ from base_config() show their default."""
    lines = []
    for name, default in DEFAULTS.items():
        value = get(config, name)
        line = f"{name} = {_value(value)}"
        lines.append(f"  {line}" if value == default else f"* {line}  (default {_value(default)})")
    return "\n".join(
        [*lines, "", "* = differs from the default. All keys are documented by seqdigits config --markdown."]
    )


def markdown() -> str:
    """Returns the page docs/configuration.md: every key, by section."""
    lines = [
        "# Configuration",
        "",
        "Every config key, generated from `seqdigits/config/defaults.py` by `seqdigits config --markdown`.",
        "",
        "Set a key in a file of `configs/`, or on the command line: `--config.train.steps=500`.",
        "`seqdigits config NAME` prints one config with all keys.",
        "A key marked † may change when a run resumes; the other keys identify the run.",
    ]
    for section, about in SECTIONS.items():
        keys = [key for key in KEYS if key.name.rpartition(".")[0] == section]
        lines += ["", f"## {section}" if section else "## General", "", about, ""]
        lines += ["| Key | Default | Allowed | Unit | Meaning |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(key) for key in keys]
    lines += [
        "",
        "## Renamed",
        "",
        "Earlier versions had other names. Saved configs are upgraded; on the command line an old name is an error.",
    ]
    lines += ["", "| Old | New |", "| --- | --- |"]
    lines += [f"| `{old}` | `{new}` |" for old, new in RENAMED_KEYS.items()]
    lines += [
        f"| `{key} = {old}` | `{key} = {new}` |"
        for key, values in RENAMED_VALUES.items()
        for old, new in values.items()
    ]
    lines += [f"| layer `{old}` | layer `{new}` |" for old, new in RENAMED_LAYERS.items()]
    lines += [f"| metric `{old}` | metric `{new}` |" for old, new in RENAMED_METRICS.items()]
    return "\n".join(lines) + "\n"


def _row(key: Key) -> str:
    mark = " †" if key.resumable else ""
    allowed = ", ".join(f"`{name}`" for name in key.allowed) if key.allowed else key.allowed_text()
    cells = (f"`{key.name}`{mark}", f"`{_value(key.default)}`", allowed or _type(key), key.unit, key.doc)
    return "| " + " | ".join(cells) + " |"


def _type(key: Key) -> str:
    """Returns the allowed values of a key that has neither a list nor a range."""
    names = {bool: "true, false", str: "text", int: "integer", float: "number"}
    return names[type(key.default)]


def _value(value: object) -> str:
    return json.dumps(value)
