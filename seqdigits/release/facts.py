"""The metadata of published weights: NAME.json and the model card."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from seqdigits.checkpoint import pretrained
from seqdigits.core.files import write_atomically
from seqdigits.release import model_card


def selected(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Returns the values of some keys."""
    return {key: values[key] for key in keys}


def write_facts(name: str, facts: dict[str, Any]) -> None:
    """Writes NAME.json, the model card that is generated from it, and the SHA-256 of NAME.json."""
    content = json.dumps(facts, indent=1) + "\n"
    write_atomically(pretrained.FOLDER / f"{name}.json", content)
    write_atomically(pretrained.FOLDER / f"{name}.md", model_card.text(name, facts))
    write_sum(f"{name}.json", hashlib.sha256(content.encode()).hexdigest())


def write_sum(name: str, digest: str) -> None:
    """Writes the SHA-256 of one file; see pretrained.SUMS."""
    sums = {**pretrained.sums(), name: digest}
    write_atomically(pretrained.FOLDER / pretrained.SUMS, json.dumps(sums, indent=1, sort_keys=True) + "\n")
