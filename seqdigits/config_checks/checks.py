"""Reading and refusing single keys."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config.defaults import DEFAULTS, get
from seqdigits.core.errors import UserError


def refuse_unread(config: ConfigDict, unread: dict[str, bool], beside: str) -> None:
    """Refuses a key that is not at its default though nothing reads it."""
    for key, is_unread in unread.items():
        if is_unread and get(config, key) != DEFAULTS[key]:
            raise UserError(
                f"{key} = {get(config, key)!r} means nothing with {beside}. Take it out, or change the other."
            )
