"""The config files, one per experiment: configs/ of a checkout, the package seqdigits.configs where it is installed."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from seqdigits.core.errors import UserError

_INSTALLED, _CHECKOUT = (Path(__file__).parents[levels] / "configs" for levels in (1, 2))
CONFIGS = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
"""The folder of the config files."""


def config_names() -> list[str]:
    """Returns the names of all experiments, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.py"))


def find_config(text: str) -> Path:
    """Returns the config file that a command line names.

    Args:
      text: the name of an experiment, such as quickstart, or a file. configs/NAME.py is the experiment NAME where the
        current folder has no such file.

    Raises:
      UserError: there is none.
    """
    names = config_names()
    if text not in names and Path(text).is_file():
        return Path(text)
    name = text.removeprefix("configs/").removesuffix(".py")
    if name not in names:
        hint = suggest_config(text) or f" Known configs are {', '.join(names)}."
        raise UserError(f"there is no config {text}.{hint} A file, FILE.py, is allowed too.")
    return CONFIGS / f"{name}.py"


def suggest_config(text: str) -> str:
    """Returns a question that suggests the experiments with the closest names, at most three; "" if none is close.

    >>> suggest_config("configs/quickstrat.py"), suggest_config("nothing_of_the_kind")
    (' Did you mean quickstart?', '')
    >>> suggest_config("reader_svnh")
    ' Did you mean reader_svhn or reader_scene?'
    """
    close = difflib.get_close_matches(Path(text).stem, config_names(), n=3, cutoff=0.75)
    return f" Did you mean {' or '.join(close)}?" if close else ""


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
