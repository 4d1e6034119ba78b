"""Command-line flags of the commands, and the errors for invalid ones."""

from __future__ import annotations

import itertools
import re

from absl import flags
from ml_collections import ConfigDict, config_flags

from seqdigits.config.registry import config_names, find_config
from seqdigits.config.upgrade import LAYER_KEYS, RENAMED_KEYS, RENAMED_VALUES, check_renamed
from seqdigits.core.errors import Help, UserError


def experiment_flags() -> flags.FlagValues:
    """Returns the flags --config, with --config.key=value, and --help."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, "the experiment: the name of a config, or a file", lock_config=True, flag_values=values
    )
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    return values


def parse(
    values: flags.FlagValues, argv: list[str], usage: str, about: str, needed: tuple[str, ...]
) -> flags.FlagValues:
    """Parses the command line into `values`.

    Args:
      values: the defined flags.
      argv: the command line, program first.
      usage: an example of the command, for --help and errors.
      about: what --help prints below the usage, the docstring of the command's module.
      needed: names of the required flags.

    Returns:
      `values`.

    Raises:
      UserError: a flag, key or config is unknown, a value has the wrong type, or a required flag is missing.
      Help: --help was given.
    """
    if {"--help", "-h", "--helpfull"} & set(argv):
        raise Help(f"usage: {usage}\n\n{about}\n{values.get_help()}\n\nConfigs: {', '.join(config_names())}")
    argv = _with_path(argv)
    for flag in argv[1:]:
        key = flag.lstrip("-").partition("=")[0].removeprefix("no").removeprefix("config.")
        if flag.startswith("-"):
            check_renamed(key, None, f"--config.{key}")
    if not config_file(argv) and any(re.match(r"--?(no)?config\.", flag) for flag in argv[1:]):
        # without it absl knows no key, and would call each one an unknown flag
        raise UserError(f"--config is missing; without --config, the config comes first. usage: {usage}")
    try:
        rest = values(argv)[1:]
    except (KeyError, AttributeError) as e:
        reason = _reason(e).partition(" Other fields present")[0]
        unknown = set(re.findall(r"['\"](\w+)['\"]", reason))
        renamed = [
            f"{old} was renamed to {new}. " for old, new in RENAMED_KEYS.items() if unknown & set(old.split("."))
        ]
        raise UserError(f"unknown key: {reason}\n{''.join(renamed)}All keys: seqdigits config --markdown.") from e
    except (flags.Error, TypeError, ValueError) as e:
        reason = _reason(e)
        hint = "All keys: seqdigits config --markdown. " if "config." in reason else ""
        raise UserError(f"{reason}\n{hint}usage: {usage}") from e
    if rest:
        raise UserError(f"{' '.join(rest)!r} is not understood. usage: {usage}")
    for name in needed:
        if values[name].value is None:
            raise UserError(f"--{name} is missing. usage: {usage}")
    config = values["config"].value
    if not isinstance(config, ConfigDict):  # ml_collections leaves the path if the file could not be loaded
        raise UserError(f"the config {config_file(argv)} does not return a ConfigDict from get_config().")
    for key in (*RENAMED_VALUES, *LAYER_KEYS):  # also for commands that do not validate the config as it is
        section, _, name = key.partition(".")
        value = config.get(section, {}).get(name)
        if value is not None:
            check_renamed(key, value, key)
    return values


def with_config(argv: list[str]) -> list[str]:
    """Returns the command line with --config= added to a config that is given without it: the first word, or a file.

    >>> with_config(["x", "a", "--limit", "20"]), with_config(["x", "--limit", "20", "configs/a.py"])
    (['x', '--config=a', '--limit', '20'], ['x', '--limit', '20', '--config=configs/a.py'])
    >>> with_config(["x", "--config", "configs/a.py"])
    ['x', '--config', 'configs/a.py']
    """
    found = argv[:1]
    for before, word in itertools.pairwise(argv):
        is_file = word.endswith(".py") and "=" not in word and before != "--config"
        is_first = len(found) == 1 and not word.startswith("-")
        found.append(f"--config={word}" if is_file or is_first else word)
    return found


def _with_path(argv: list[str]) -> list[str]:
    """Returns the command line with the path of the config, which ml_collections opens, in place of its name."""
    found = argv[:1]
    for before, word in itertools.pairwise(argv):
        flag, equals, text = word.partition("=") if word.startswith(("--config=", "-config=")) else ("", "", word)
        if equals or before in ("--config", "-config"):
            name, colon, argument = text.partition(":")
            word = f"{flag}{equals}{find_config(name)}{colon}{argument}"
        found.append(word)
    return found


def _reason(e: BaseException) -> str:
    """Returns the message of an exception, without the quotes that a KeyError adds."""
    inner = e.args[0] if e.args else e
    return _reason(inner) if isinstance(inner, BaseException) and inner is not e else str(inner).strip()


def config_file(argv: list[str]) -> str:
    """Returns the value of --config; "" if it is missing."""
    for flag, following in zip(argv, [*argv[1:], ""], strict=True):
        name, _, value = flag.partition("=")
        if name in ("--config", "-config"):
            return value or following
    return ""


def experiment_arguments(arguments: list[str]) -> list[str]:
    """Returns the flags --config, --config.key and --workdir with their values, which all commands on a run take.

    >>> experiment_arguments(["--config", "a", "--mode", "train", "--workdir=W", "--config.seed", "-1", "--process_id", "0"])
    ['--config', 'a', '--workdir=W', '--config.seed', '-1']
    """
    found = []
    for word, following in zip(arguments, [*arguments[1:], "-"], strict=True):
        if re.match(r"--?(no)?(config|workdir)\b", word):
            found += [word] if "=" in word or re.match(r"-(\D|$)", following) else [word, following]
    return found
