"""The parser of command lines: order of arguments, errors, help, and integers."""

import argparse
import sys

import pytest

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.errors import Help, UserError


@pytest.fixture
def parse(monkeypatch):
    """`parse("a", "--count=3")`: the values of a command with names, a number, a list and a switch."""
    parser = CommandParser("seqdigits do NAME ... [--count N]", "Does it.\n\nTwice.", "Names: a, b.")
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--count", type=integer_from(1), default=7)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--json", action="store_true")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["seqdigits do", *arguments])
        return vars(parser.parse_command_line())

    return call


def test_flags_may_stand_between_arguments(parse):
    default = {"names": ["a"], "count": 7, "only": [], "json": False}
    assert parse("a") == default
    assert parse("a", "--count", "3", "b", "--json", "c") == {
        **default,
        "names": ["a", "b", "c"],
        "count": 3,
        "json": True,
    }
    assert parse("--only=x", "a", "--only", "y=z") == {**default, "only": ["x", "y=z"]}
    assert parse("a", "--", "--json", "-x") == {**default, "names": ["a", "--json", "-x"]}
    assert parse("a") == default  # a list is not shared by calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "NAME is missing."),
        (["--count=3"], "NAME is missing."),
        (["a", "--cuont=3"], "unknown flag --cuont. Did you mean --count?"),
        (["a", "--coun=3"], "unknown flag --coun. Did you mean --count?"),
        (["--zzz"], "unknown flag --zzz."),
        (["a", "-z"], "'-z' is not understood."),
        (["a", "--count"], "argument --count: expected one argument"),
        (["a", "--count=0"], "argument --count: '0' is not an integer of at least 1"),
        (["a", "--count", "x"], "argument --count: 'x' is not an integer of at least 1"),
        (["a", "--count=99999999999"], "argument --count: '99999999999' is more than 2147483647"),
        (["a", "--only", ""], "the value of --only is empty. Give one, or leave --only out."),
        (["a", "--only="], "the value of --only is empty. Give one, or leave --only out."),
        (["a", "--json=yes"], "argument --json: ignored explicit argument 'yes'"),
    ],
    ids=" ".join,
)
def test_errors_end_with_the_usage(parse, arguments, message):
    with pytest.raises(UserError) as e:
        parse(*arguments)
    assert str(e.value) == f"{message}\nusage: seqdigits do NAME ... [--count N]"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["a", "--count=x", "--help"]])
def test_help_has_all_texts(parse, arguments):
    with pytest.raises(Help) as e:
        parse(*arguments)
    text = str(e.value)
    assert text.startswith("usage: seqdigits do NAME ... [--count N]\n\nDoes it.\n\nTwice.\n")
    assert text.endswith("\n\nNames: a, b.")
    assert "--count" in text


@pytest.mark.parametrize("text", ["0", "1.0", "", "two", "-1"])
def test_integer_from_refuses_other_values(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not an integer of at least 1"):
        integer_from(1)(text)


def test_a_flag_that_may_be_empty_takes_an_empty_value(monkeypatch):
    parser = CommandParser("seqdigits do", "Does it.", may_be_empty=("--file",))
    parser.add_argument("--file")
    for arguments in (["--file", ""], ["--file="]):
        monkeypatch.setattr(sys, "argv", ["seqdigits do", *arguments])
        assert parser.parse_command_line().file == ""
