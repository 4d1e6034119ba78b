"""Names of parameters, and patterns over them.

`encoder/Conv_0/kernel` is a name; the pattern `encoder/.*` matches all parameters of the encoder.
"""

from __future__ import annotations

import re
from typing import Any

import jax

from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables


def names(tree: Variables) -> list[str]:
    """Returns the names of all leaves, in the order of jax.tree.leaves.

    >>> names({"head": {"kernel": 1, "bias": 2}})
    ['head/bias', 'head/kernel']
    """
    return ["/".join(_key(k) for k in path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def shapes(tree: Variables) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each leaf by name."""
    return {name: leaf.shape for name, leaf in zip(names(tree), jax.tree.leaves(tree), strict=True)}


def matching(tree: Variables, pattern: str) -> Variables:
    """Returns a tree of bool, True where the regular expression matches the full name; "" matches none.

    >>> matching({"head": {"kernel": 1, "bias": 2}}, ".*/kernel")
    {'head': {'bias': False, 'kernel': True}}
    """
    matches = [bool(pattern) and re.fullmatch(pattern, name) is not None for name in names(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), matches)


def summarize(chosen: list[str], others: list[str]) -> str:
    """Returns the chosen names as text for messages.

    A module all of whose names are chosen is written as one pattern, with the number of its names.

    >>> summarize(["encoder/Conv_0/bias", "encoder/Conv_0/kernel", "head/bias"], ["head/kernel"])
    'encoder/.* (2), head/bias'
    """
    complete = {name.split("/")[0] for name in chosen} - {name.split("/")[0] for name in others}
    counts: dict[str, int] = {}
    for name in chosen:
        module = name.split("/")[0]
        shown = f"{module}/.*" if module in complete else name
        counts[shown] = counts.get(shown, 0) + 1
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in counts.items())


def check(tree: Variables, pattern: str, key: str) -> None:
    """Checks that a pattern matches at least one name of the tree; "" stands for no pattern and passes.

    Raises:
      UserError: the pattern matches no name; the message has `key` and all names.
    """
    if pattern and not any(jax.tree.leaves(matching(tree, pattern))):
        raise UserError(
            f"{key} = {pattern!r} matches no parameter. It must match the full name of at least one of: {', '.join(names(tree))}."
        )


def check_syntax(pattern: str, key: str) -> None:
    """Checks that a pattern is a valid regular expression.

    Raises:
      UserError: it is not; the message has `key`.
    """
    try:
        re.compile(pattern)
    except re.error as e:
        raise UserError(f"{key} = {pattern!r} is not a regular expression: {e}. Example: encoder/.*/kernel") from None


def count(params: Variables) -> int:
    """Returns the number of scalar parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _key(part: Any) -> str:
    return str(getattr(part, "key", getattr(part, "idx", part)))
