"""The metadata of published weights: NAME.json and the model card."""

from __future__ import annotations

import json
from typing import Any

from seqdigits.checkpoint import pretrained
from seqdigits.core.files import write_atomically
from seqdigits.release import model_card


def selected(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Returns the values of some keys."""
    return {key: values[key] for key in keys}


def write_facts(name: str, facts: dict[str, Any]) -> None:
    """Writes NAME.json, and the model card that is generated from it."""
    write_atomically(pretrained.FOLDER / f"{name}.json", json.dumps(facts, indent=1) + "\n")
    write_atomically(pretrained.FOLDER / f"{name}.md", model_card.text(name, facts))
