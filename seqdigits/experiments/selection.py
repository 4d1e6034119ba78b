"""Resolves the experiments and settings of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqdigits.config import registry as config_registry
from seqdigits.config.defaults import DEFAULTS
from seqdigits.config.upgrade import check_renamed
from seqdigits.core.errors import UserError
from seqdigits.experiments.published import FAMILIES, PUBLISHED


def chosen_experiments(arguments: Sequence[str]) -> list[str]:
    """Returns the selected experiments, each once.

    Args:
      arguments: letters of families, and names of files in configs/, with or without folder and .py; empty selects all
        published ones.

    Raises:
      UserError: an argument is unknown, or its file is missing.
    """
    known = config_registry.config_names()
    names: list[str] = []
    for argument in arguments or FAMILIES:
        name = argument.removeprefix("configs/").removesuffix(".py")
        if argument in FAMILIES:
            names += [name for name, row in PUBLISHED.items() if row.family == argument]
        elif name in known or name in PUBLISHED:
            names.append(name)
        else:
            raise UserError(
                f"unknown experiment {argument!r}.{config_registry.suggest_config(argument) or f' {known_experiments()}'}"
            )
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(
            f"{config_registry.CONFIGS} has no file for {', '.join(missing)}. Name the experiments to run. {known_experiments()}"
        )
    return list(dict.fromkeys(names))


def known_experiments() -> str:
    """Returns the families and experiments, for messages."""
    families = ", ".join(f"{letter} ({what})" for letter, what in FAMILIES.items())
    return f"Families are {families}. Names are {', '.join(config_registry.config_names())}."


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Returns the settings of `--set KEY=VALUE ...`, sorted by key, each value of the type of its key.

    Raises:
      UserError: the key is unknown, or the value has another type.
    """
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, for example --set train.batch_size=64.")
        check_renamed(key, value, f"--set {key}")
        if key not in DEFAULTS:
            raise UserError(f"--set {key}: unknown key. All keys: seqdigits config --markdown.")
        settings[key] = _typed(key, value, DEFAULTS[key])
    return dict(sorted(settings.items()))


def settings_of_seeds(settings: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Returns the settings of each of `count` seeds, sorted by key: the first has the seed of the config, then 1, 2, ...

    >>> settings_of_seeds({"train.steps": 5, "optim.decay_steps": 5}, 2)[1]
    {'optim.decay_steps': 5, 'seed': 1, 'train.steps': 5}

    Raises:
      UserError: there are several, and the settings have one of their own.
    """
    if count > 1 and "seed" in settings:
        raise UserError(f"--seeds {count} sets the seeds 0 to {count - 1}: leave out --set seed={settings['seed']}.")
    return [dict(sorted((settings | ({"seed": seed} if seed else {})).items())) for seed in range(count)]


def _typed(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        values = {"true": True, "false": False}
        if text.lower() not in values:
            raise UserError(f"--set {key}={text}: allowed are true and false.")
        return values[text.lower()]
    if not isinstance(default, int | float | str):
        raise UserError(f"--set {key}: only numbers, text, true and false can be set here. Change the config file.")
    try:
        return type(default)(text)
    except ValueError as e:
        kind = "an integer" if isinstance(default, int) else "a number"
        raise UserError(f"--set {key}={text}: it takes {kind}, such as {default}.") from e
