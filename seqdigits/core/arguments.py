"""Parses command lines of commands that take names or files, and no config; and durations in the environment."""

from __future__ import annotations

import argparse
import difflib
import itertools
import os
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from seqdigits.core.errors import Help, UserError

Item = TypeVar("Item")


class CommandParser(argparse.ArgumentParser):
    """Parses the command line of a command; flags may follow other arguments.

    Args:
      usage: an example of the command, for --help and errors.
      about: what --help prints below the usage, usually the docstring of the module.
      epilog: what --help prints below the flags.
      may_be_empty: the flags whose value may be "", as after --flag "$VARIABLE" without the variable.
    """

    def __init__(self, usage: str, about: str, epilog: str = "", may_be_empty: tuple[str, ...] = ()) -> None:
        self._may_be_empty = may_be_empty
        super().__init__(
            usage=usage,
            description=about,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_command_line(self) -> argparse.Namespace:
        """Parses sys.argv.

        Raises:
          UserError: a flag is unknown, its value is not allowed, or an argument is missing or not understood.
          Help: --help was given.
        """
        arguments = sys.argv[1:]
        if {"--help", "-h"} & set(arguments):
            raise Help(self.format_help().rstrip())
        words = list(itertools.takewhile("--".__ne__, arguments))
        for argument, following in itertools.zip_longest(words, words[1:]):
            flag, equals, value = argument.partition("=")
            if flag in self._option_string_actions and flag not in self._may_be_empty:
                takes_value = self._option_string_actions[flag].nargs != 0
                if (equals and not value) or (takes_value and not equals and following == ""):
                    self.error(f"the value of {flag} is empty. Give one, or leave {flag} out.")
            if flag.startswith("--") and flag not in self._option_string_actions:
                near = difflib.get_close_matches(flag, self._option_string_actions, n=1)
                self.error(f"unknown flag {flag}." + (f" Did you mean {near[0]}?" if near else ""))
        values, rest = self.parse_known_intermixed_args(arguments)
        if rest:
            self.error(f"{' '.join(rest)!r} is not understood.")
        return values

    def error(self, message: str) -> NoReturn:
        """Raises a UserError with the message and the usage."""
        missing = message.removeprefix("the following arguments are required: ")
        raise UserError(f"{message if missing == message else f'{missing} is missing.'}\nusage: {self.usage}")


_LARGEST = 2**31 - 1
"""The largest integer of a flag, which NumPy and JAX take as a number or a seed."""


def integer_from(lowest: int) -> Callable[[str], int]:
    """Returns the type of a flag whose value is an integer from `lowest` to 2,147,483,647.

    >>> integer_from(1)("12")
    12
    """

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is not None and value > _LARGEST:
            raise argparse.ArgumentTypeError(f"{text!r} is more than {_LARGEST}")
        if value is None or value < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {lowest}")
        return value

    return parse


def one_of(allowed: Iterable[str]) -> Callable[[str], str]:
    """Returns the type of a flag whose value is one of some words.

    >>> one_of(("train", "test"))("test")
    'test'
    """
    words = tuple(allowed)

    def parse(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r}: allowed are {', '.join(words)}")
        return text

    return parse


def separated_by_commas(item: Callable[[str], Item]) -> Callable[[str], list[Item]]:
    """Returns the type of a flag whose value is a list of different items, such as 20,50.

    >>> separated_by_commas(integer_from(1))("20,50,20")
    [20, 50]
    """

    def parse(text: str) -> list[Item]:
        return list(dict.fromkeys(item(part.strip()) for part in text.split(",")))

    return parse


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
        raise UserError(f"{variable}={text!r}: a number of seconds above 0 and below 1,000,000 is allowed.")
    return seconds
