"""The command line: `seqdigits COMMAND ...`, or `python -m seqdigits COMMAND ...`."""

from __future__ import annotations

import difflib
import sys
from typing import NoReturn

from seqdigits import __version__
from seqdigits.cli import COMMANDS, module_of
from seqdigits.core import app
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop


def _usage() -> str:
    lines = [f"  {name:<19}{what}" for name, what in COMMANDS.items()]
    train = "Training and evaluation: python -m seqdigits.main --help"
    return "\n".join(["usage: seqdigits COMMAND [--help | ...] | --version", "", *lines, "", train])


def main() -> NoReturn:
    """Runs the command that the first argument names, and exits with its status."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        sys.argv[:2] = [f"seqdigits {name}"]
        app.run(f"{module_of(name)}:main")
    app.run("seqdigits.__main__:answer")


def answer(stop: Stop) -> None:
    """Runs `seqdigits` without a command: prints the version, or the list of commands.

    Raises:
      UserError: the first argument is no command.
      Help: there is none, or it is --help.
    """
    del stop  # it ends at once
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name == "--version":
        print(f"seqdigits {__version__}")
        return
    if name in ("--help", "-h"):
        raise Help(_usage())
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.75)
    meant = f" Did you mean {near[0]}?" if near else ""
    if name in ("train", "evaluate"):
        mode = " --mode evaluate" if name == "evaluate" else ""
        meant = f" To {name}: python -m seqdigits.main --config CONFIG --workdir W{mode}"
    raise UserError(f"unknown command {name!r}.{meant}\n\n{_usage()}")


if __name__ == "__main__":
    main()
