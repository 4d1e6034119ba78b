"""Checks shared by all sections."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config.defaults import DEFAULTS, get
from seqdigits.core.errors import UserError


def refuse_unread(config: ConfigDict, unread: dict[str, bool], context: str) -> None:
    """Refuses keys that are not at their default although they have no effect.

    Args:
      config: the config.
      unread: whether nothing reads a key, by its name with section.
      context: the keys and values that are the reason, for the error message.

    Raises:
      UserError: such a key is not at its default.
    """
    for key, is_unread in unread.items():
        if is_unread and get(config, key) != DEFAULTS[key]:
            raise UserError(
                f"{key} = {get(config, key)!r} has no effect with {context}. Remove it, or change the latter."
            )
