"""Tables as plain text and in a terminal."""

import re
import sys

import pytest

from seqdigits.core.console import render_table

COLUMNS = ("", "train", "test")
ROWS = (("examples", "10,000", "2,000"), ("  of 1 digit", "-", "0.9632"))
PLAIN = """\
               train    test
examples      10,000   2,000
  of 1 digit       -  0.9632"""
ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def terminal(monkeypatch):
    """Standard output is a terminal of 80 columns with colors."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_piped_table_is_plain_text():
    assert render_table(COLUMNS, ROWS) == PLAIN


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FORCE_COLOR", "1"),
        ("TTY_COMPATIBLE", "1"),
        ("COLUMNS", "10"),
        ("NO_COLOR", "1"),
        ("TERM", "dumb"),
    ],
)
def test_piped_table_ignores_the_environment(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert render_table(COLUMNS, ROWS) == PLAIN


def test_piped_table_is_never_wrapped():
    assert render_table(("name", "value"), [("a " * 500 + "b", "1")]).splitlines()[1] == "a " * 500 + "b      1"


def test_columns_align_as_asked_and_lines_end_without_spaces():
    assert render_table(("a", "steps", "state"), [("x", "5", "done"), ("y", "10", "")], align="rrl") == (
        "a  steps  state\nx      5  done\ny     10"
    )


def test_cells_are_not_markup():
    assert render_table(("a", "b"), [("[bold]x[/] :smile:", "[/]")]).splitlines()[1] == "[bold]x[/] :smile:  [/]"


def test_table_without_rows_has_its_header():
    assert render_table(("name", "value"), []) == "name  value"


def test_rows_must_fit_the_alignment():
    with pytest.raises(ValueError, match="zip"):
        render_table(("a", "b"), [], align="l")


def test_terminal_table_is_the_same_text_with_styles(terminal):
    text = render_table(COLUMNS, ROWS)
    assert "\x1b[36mexamples" in text
    assert "\x1b[1;4m" in text
    assert ESCAPE_CODES.sub("", text) == PLAIN


def test_terminal_table_obeys_no_color(terminal):
    terminal.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in render_table(COLUMNS, ROWS)


def test_dumb_terminal_gets_plain_text(terminal):
    terminal.setenv("TERM", "dumb")
    assert render_table(COLUMNS, ROWS) == PLAIN
    assert render_table(("name", "value"), [("a" * 200, "1")]).splitlines()[1] == "a" * 200 + "      1"


def test_narrow_terminal_gets_the_same_text(terminal):
    terminal.setenv("COLUMNS", "12")
    assert ESCAPE_CODES.sub("", render_table(COLUMNS, ROWS)) == PLAIN
