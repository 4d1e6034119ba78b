"""Parses command lines of commands that take names or files, and no config; and durations in the environment."""

from __future__ import annotations

import os
import sys

from absl import flags

from seqdigits.core.errors import Help, UserError


def parse_arguments(values: flags.FlagValues, usage: str, text: str) -> list[str]:
    """Parses the command line into `values`.

    Args:
      values: the defined flags.
      usage: an example of the command, for --help and errors.
      text: what --help prints below the usage.

    Returns:
      The arguments that are no flags.

    Raises:
      UserError: a flag is unknown, or its value is not allowed.
      Help: --help was given.
    """
    if {"--help", "-h", "--helpfull"} & set(sys.argv):
        raise Help(f"usage: {usage}\n\n{text}")
    try:
        return values(sys.argv)[1:]
    except flags.Error as e:
        raise UserError(f"{e}\nusage: {usage}") from e


def seconds_from_environment(variable: str, default: float) -> float:
    """Returns the seconds that an environment variable sets; `default` if it is unset or empty.

    Raises:
      UserError: it is not a number above 0.
    """
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise UserError(f"{variable}={text!r}: a number of seconds above 0 is allowed.")
    return seconds
