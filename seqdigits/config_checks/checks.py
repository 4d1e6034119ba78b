"""Reading and refusing single keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.core.errors import UserError


def refuse_unread(config: ConfigDict, unread: dict[str, bool], beside: str) -> None:
    """Refuses a key that is not at its default though nothing reads it."""
    default = base_config()
    for key, is_unread in unread.items():
        if is_unread and get(config, key) != get(default, key):
            raise UserError(
                f"{key} = {get(config, key)!r} means nothing with {beside}. Take it out, or change the other."
            )


def get(config: ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def one_of(config: ConfigDict, key: str, allowed: Iterable[str]) -> None:
    if get(config, key) not in allowed:
        raise UserError(f"{key} = {get(config, key)!r} is not known. Allowed are {', '.join(allowed)}.")
