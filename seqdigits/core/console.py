"""Tables on standard output: with styles in a terminal, plain text anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

_UNBOUNDED = 100_000
"""Width in characters, and height in lines, that no table reaches."""

_JUSTIFY: dict[str, Literal["left", "right"]] = {"l": "left", "r": "right"}


def render_table(columns: Sequence[str], rows: Iterable[Sequence[str]], align: str | None = None) -> str:
    """Returns a table as text for standard output.

    The text depends only on the arguments: columns are two spaces apart, without lines, wrapping or truncation. If standard
    output is a terminal, escape codes for styles are added, unless NO_COLOR or TERM=dumb is set.

    Args:
      columns: the headers; they may be empty.
      rows: the cells of each row, at most as many as there are headers. Markup is not interpreted.
      align: one letter per column, l (left, for text) or r (right, for numbers); by default the first is l, the others r.
    """
    # rich takes 0.1 s to import: only commands that print a table wait for it.
    from rich.console import Console
    from rich.table import Table

    console = Console(
        force_terminal=sys.stdout.isatty(),  # by default FORCE_COLOR and TTY_COMPATIBLE put escape codes into a pipe
        force_jupyter=False,  # by default a notebook gets HTML
        width=_UNBOUNDED,  # by default cells are folded to the width of the terminal, and to 80 characters in a pipe
        height=_UNBOUNDED,  # without it, rich ignores the width where TERM is dumb
        markup=False,
        emoji=False,
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold underline")
    for number, (name, letter) in enumerate(zip(columns, align or "l" + "r" * (len(columns) - 1), strict=True)):
        table.add_column(name, justify=_JUSTIFY[letter], style="" if number else "cyan")
    for row in rows:
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
