"""Writes a config as a file like those in configs/: a docstring, the config that it starts from, and the differences."""

from __future__ import annotations

import re
from typing import Any

from ml_collections import ConfigDict

from seqdigits.config.defaults import RESUMABLE_KEYS, base_config
from seqdigits.config.registry import load_config
from seqdigits.tuning.space import differences

_WIDTH = 120  # of a line


def config_text(config: ConfigDict, base: str | None, docstring: str, *, keep_resumable: bool = True) -> str:
    """Returns the source of a config file.

    Args:
      config: the complete config.
      base: name of the config that the file starts from; None starts from the defaults, which makes the file complete.
      docstring: of the file.
      keep_resumable: whether it sets keys that do not identify a run, such as the number of steps, or leaves those of the
        base.
    """
    start, imported, call = base_config(), "defaults import base_config", "base_config()"
    if base is not None:
        start, imported, call = load_config(base), "registry import load_config", f'load_config("{base}")'
    found = differences(config, start)
    lines = [
        _assignment(key, value)
        for key, value in found.items()
        if keep_resumable or base is None or key not in RESUMABLE_KEYS
    ]
    return "\n".join(
        [
            f'"""{docstring.rstrip()}{chr(10) if chr(10) in docstring else ""}"""',
            "",
            "from ml_collections import ConfigDict",
            "",
            f"from seqdigits.config.{imported}",
            "",
            "",
            "def get_config() -> ConfigDict:",
            f"    config = {call}",
            *lines,
            "    return config",
            "",
        ]
    )


def _assignment(key: str, value: Any) -> str:
    """Returns the line that sets a key, as the formatter of configs/ wants it: long text in several lines.

    >>> print(_assignment("model.encoder", "conv 3x3x8, " * 10 + "relu"))
        config.model.encoder = (
            "conv 3x3x8, conv 3x3x8, conv 3x3x8, conv 3x3x8, conv 3x3x8, conv 3x3x8, conv 3x3x8, conv 3x3x8, conv 3x3x8, "
            "conv 3x3x8, relu"
        )
    """
    line = f"    config.{key} = {_quoted(value) if isinstance(value, str) else repr(value)}"
    if len(line) <= _WIDTH or not isinstance(value, str):
        return line
    pieces = [""]
    for word in re.findall(r"\S*\s*", value):
        if len(pieces[-1]) + len(word) > _WIDTH - 10:  # the indentation and the quotes
            pieces.append("")
        pieces[-1] += word
    return "\n".join([f"    config.{key} = (", *(f"        {_quoted(piece)}" for piece in pieces), "    )"])


def _quoted(text: str) -> str:
    """Returns text in double quotes where it has none itself, as the formatter wants it."""
    return repr(text) if '"' in text else f'"{repr(text)[1:-1]}"'
