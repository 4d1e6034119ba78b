"""The config files in configs/, one per experiment."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from seqdigits.core.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
"""The folder of the config files."""


def config_names() -> list[str]:
    """Returns the names of all experiments, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.py"))


def suggest_config(text: str) -> str:
    """Returns a question that suggests the experiment with the closest name; "" if none is close.

    >>> suggest_config("configs/quickstrat.py"), suggest_config("quickstart"), suggest_config("nothing_of_the_kind")
    (' Did you mean configs/quickstart.py?', ' Did you mean configs/quickstart.py?', '')
    """
    close = difflib.get_close_matches(Path(text).stem, config_names(), n=1, cutoff=0.75)
    return f" Did you mean configs/{close[0]}.py?" if close else ""


def load_config(name: str) -> ConfigDict:
    """Loads the config of an experiment from configs/NAME.py.

    Raises:
      UserError: its file has no get_config().
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
