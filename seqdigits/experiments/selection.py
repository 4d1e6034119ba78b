"""Which experiments and settings a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqdigits.config import registry as config_registry
from seqdigits.config.defaults import base_config
from seqdigits.config.upgrade import RENAMED_KEYS
from seqdigits.core.errors import UserError
from seqdigits.experiments.published import FAMILIES, PUBLISHED


def chosen_experiments(arguments: Sequence[str]) -> list[str]:
    """The experiments that are meant, each once.

    Args:
      arguments: letters of families, and names of files in configs/, with or without the folder and .py; none = all
        that are published.

    Raises:
      UserError: an argument is unknown, or its file is missing.
    """
    there = config_registry.config_names()
    names: list[str] = []
    for argument in arguments or FAMILIES:
        name = argument.removeprefix("configs/").removesuffix(".py")
        if argument in FAMILIES:
            names += [name for name, row in PUBLISHED.items() if row.family == argument]
        elif name in there or name in PUBLISHED:
            names.append(name)
        else:
            raise UserError(
                f"there is no experiment {argument!r}.{config_registry.suggest_config(argument) or f' {known_experiments()}'}"
            )
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(
            f"there is no file in {config_registry.CONFIGS} for {', '.join(missing)}. Name the experiments to run. {known_experiments()}"
        )
    return list(dict.fromkeys(names))


def known_experiments() -> str:
    families = ", ".join(f"{letter} ({what})" for letter, what in FAMILIES.items())
    return f"Families are {families}. Names are {', '.join(config_registry.config_names())}."


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """What `--set KEY=VALUE ...` asks for, by key in their order, each value of the type that the key has.

    Raises:
      UserError: no such key, or a value of another type.
    """
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, for example --set train.batch_size=64.")
        settings[key] = _typed(key, value, _default(base_config(), key))
    return dict(sorted(settings.items()))


def _default(config: Any, key: str) -> Any:
    if key in RENAMED_KEYS:
        raise UserError(f"--set {key}: this key is now {RENAMED_KEYS[key]}.")
    for part in key.split("."):
        if not hasattr(config, "keys") or part not in config:
            raise UserError(f"--set {key}: there is no such key. docs/configuration.md has them all.")
        config = config[part]
    return config


def _typed(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        values = {"true": True, "false": False}
        if text.lower() not in values:
            raise UserError(f"--set {key}={text}: allowed are true and false.")
        return values[text.lower()]
    if not isinstance(default, int | float | str):
        raise UserError(f"--set {key}: only numbers, texts, true and false can be set here. Change the config's file.")
    try:
        return type(default)(text)
    except ValueError as e:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise UserError(f"--set {key}={text}: it takes {kind}, such as {default}.") from e
