"""Names of parameters, and patterns over them: `encoder/Conv_0/kernel` is one, `encoder/.*` are all of the encoder."""

from __future__ import annotations

import re
from typing import Any

import jax

from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


def names(tree: Variables) -> list[str]:
    """The names of all leaves, in the order of jax.tree.leaves.

    >>> names({"head": {"kernel": 1, "bias": 2}})
    ['head/bias', 'head/kernel']
    """
    return ["/".join(_key(k) for k in path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def shapes(tree: Variables) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf by name."""
    return {name: leaf.shape for name, leaf in zip(names(tree), jax.tree.leaves(tree), strict=True)}


def matching(tree: Variables, pattern: str) -> Variables:
    """A tree of bool: True where the whole name fits the regular expression; "" fits none.

    >>> matching({"head": {"kernel": 1, "bias": 2}}, ".*/kernel")
    {'head': {'bias': False, 'kernel': True}}
    """
    found = [bool(pattern) and re.fullmatch(pattern, name) is not None for name in names(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), found)


def listed(chosen: list[str], others: list[str]) -> str:
    """Names for a person; those of a module that is chosen whole as one pattern, with how many they are.

    >>> listed(["encoder/Conv_0/bias", "encoder/Conv_0/kernel", "head/bias"], ["head/kernel"])
    'encoder/.* (2), head/bias'
    """
    whole = {name.split("/")[0] for name in chosen} - {name.split("/")[0] for name in others}
    counts: dict[str, int] = {}
    for name in chosen:
        module = name.split("/")[0]
        shown = f"{module}/.*" if module in whole else name
        counts[shown] = counts.get(shown, 0) + 1
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in counts.items())


def check(tree: Variables, pattern: str, key: str) -> None:
    """Refuses a pattern that fits no name of the tree; "" is none and fine.

    Raises:
      UserError: naming `key`, and the names that there are.
    """
    if pattern and not any(jax.tree.leaves(matching(tree, pattern))):
        raise UserError(
            f"{key} = {pattern!r} fits no parameter. It must fit the whole name of at least one of: {', '.join(names(tree))}."
        )


def check_syntax(pattern: str, key: str) -> None:
    """Refuses what is not a regular expression.

    Raises:
      UserError: naming `key`.
    """
    try:
        re.compile(pattern)
    except re.error as e:
        raise UserError(f"{key} = {pattern!r} is not a regular expression: {e}. Example: encoder/.*/kernel") from None


def count(params: Variables) -> int:
    """How many numbers are trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _key(part: Any) -> str:
    return str(getattr(part, "key", getattr(part, "idx", part)))
