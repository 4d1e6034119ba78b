"""Flags of the commands; what goes wrong with them is said in one line."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from pathlib import Path

import jax
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from seqdigits.config.registry import config_names, suggest_config
from seqdigits.config.upgrade import RENAMED_KEYS
from seqdigits.core.errors import Help, UserError


def experiment_flags() -> flags.FlagValues:
    """The flag --config, with --config.key=value, and --help."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, "the experiment: a file in configs/", lock_config=True, flag_values=values
    )
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    return values


def parse(values: flags.FlagValues, argv: list[str], usage: str, needed: tuple[str, ...]) -> flags.FlagValues:
    """Reads the command line into `values`.

    Args:
      values: the flags that are defined.
      argv: the command line, program first.
      usage: an example of the command, for --help and errors.
      needed: flags that must be given.

    Raises:
      UserError: an unknown flag or key, a value of the wrong type, a missing flag, no such config.
      Help: --help was given.
    """
    if {"--help", "-h", "--helpfull"} & set(argv):
        raise Help(f"usage: {usage}\n\n{values.get_help()}\n\nConfigs: {known_configs()}")
    path = config_file(argv).partition(":")[0]
    if "config" in values and path != "configs/X.py" and not Path(path).exists():
        raise UserError(_no_config(path))
    for flag in argv[1:]:
        key = flag.lstrip("-").partition("=")[0].removeprefix("config.")
        if flag.startswith("-") and key in RENAMED_KEYS:
            raise UserError(f"--config.{key}: this key was renamed to {RENAMED_KEYS[key]}.")
    try:
        rest = values(argv)[1:]
    except (KeyError, AttributeError) as e:
        raise UserError(f"there is no such key: {_reason(e)}\nThe keys stand in docs/configuration.md.") from e
    except (flags.Error, TypeError, ValueError) as e:
        reason = _reason(e)
        where = "The keys stand in docs/configuration.md. " if "config." in reason else ""
        raise UserError(f"{reason}\n{where}usage: {usage}") from e
    if rest:
        raise UserError(f"{' '.join(rest)!r} is not understood. usage: {usage}")
    for name in needed:
        if values[name].value is None:
            raise UserError(f"--{name} is missing. usage: {usage}")
    config = values["config"].value
    if not isinstance(config, ConfigDict):  # what ml_collections leaves where a file could not be read
        path = config_file(argv)
        if Path(path.partition(":")[0]).exists():
            raise UserError(f"the config {path} gives no ConfigDict from get_config().")
        raise UserError(_no_config(path))
    return values


def _no_config(path: str) -> str:
    return f"there is no config {path}." + (suggest_config(path) or f" Known are {known_configs()}.")


def with_config(argv: list[str]) -> list[str]:
    """A command line on which the config may stand alone, without its flag.

    >>> with_config(["x", "configs/a.py"]), with_config(["x", "--config", "configs/a.py"])
    (['x', '--config=configs/a.py'], ['x', '--config', 'configs/a.py'])
    """
    stand = (a.endswith(".py") and "=" not in a and before != "--config" for before, a in itertools.pairwise(argv))
    return [argv[0], *(f"--config={a}" if alone else a for alone, a in zip(stand, argv[1:], strict=True))]


def _reason(e: BaseException) -> str:
    """What an exception says, without the quotes that a KeyError puts around it."""
    inner = e.args[0] if e.args else e
    return _reason(inner) if isinstance(inner, BaseException) and inner is not e else str(inner).strip()


def known_configs() -> str:
    """The experiments that there are, for messages."""
    return ", ".join(f"configs/{name}.py" for name in config_names())


def prepare_jax() -> None:
    """Keeps compiled programs on disk, so that the second start is quick: where $JAX_COMPILATION_CACHE_DIR says, or in
    ~/.cache/seqdigits/compiled. Errors of the libraries are shown, their chatter is not."""
    logging.set_verbosity(logging.ERROR)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(Path("~/.cache/seqdigits/compiled").expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def next_steps(argv: list[str], workdir: Path, cosine: bool) -> str:
    """What a person may want to do after a run; `argv` is its command line, `cosine` whether its schedule has an end."""
    inside = sys.executable.startswith(f"{Path.cwd()}/")
    python = os.path.relpath(sys.executable) if inside else sys.executable
    command = shlex.join([python, "-m", "seqdigits.main", *argv[1:]])
    longer = "a longer run: --config.train.steps=N --config.optim.decay_steps=N and a new --workdir"
    return "\n".join(
        [
            "",
            "What to look at, and to try next:",
            f"  {workdir / 'evaluation'}/*.png: examples read right and wrong; true boxes green, predicted ones red",
            f"  {python} -m tensorboard.main --logdir {workdir}",
            f"  {command} --mode evaluate --checkpoint best",
            f"  {longer}" if cosine else f"  {command} --config.train.steps=N: goes on, if N is more",
        ]
    )


def config_file(argv: list[str]) -> str:
    """What was given as --config."""
    for flag, following in zip(argv, [*argv[1:], ""], strict=True):
        name, _, value = flag.partition("=")
        if name in ("--config", "-config"):
            return value or following
    return "configs/X.py"
