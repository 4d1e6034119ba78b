"""The files in configs/: one experiment each."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from seqdigits.errors import UserError

CONFIGS = Path(__file__).parent.parent / "configs"


def names() -> list[str]:
    """The experiments that there are."""
    return sorted(path.stem for path in CONFIGS.glob("*.py"))


def load(name: str) -> ConfigDict:
    """The config of an experiment.

    Raises:
      UserError: its file gives none.
    """
    path = CONFIGS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "it is a .py file"
    assert spec.loader is not None, "it is a .py file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"the config {path} has no get_config().")
    return module.get_config()
