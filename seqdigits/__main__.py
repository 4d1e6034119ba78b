"""The command line: `seqdigits COMMAND ...`, or `python -m seqdigits COMMAND ...`."""

from __future__ import annotations

import difflib
import sys

from seqdigits import __version__
from seqdigits.cli import COMMANDS, module_of
from seqdigits.core import app


def _usage() -> str:
    lines = [f"  {name:<19}{what}" for name, what in COMMANDS.items()]
    train = "Training and evaluation: python -m seqdigits.main --help"
    return "\n".join(["usage: seqdigits COMMAND [--help | ...] | --version", "", *lines, "", train])


def main() -> None:
    """Runs the command that the first argument names, and exits with its status."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print(_usage())
        return
    if name == "--version":
        print(f"seqdigits {__version__}")
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        print(f"error: unknown command {name!r}.{meant}\n\n{_usage()}", file=sys.stderr)
        sys.exit(2)
    sys.argv[:2] = [f"seqdigits {name}"]
    app.run(f"{module_of(name)}:main")


if __name__ == "__main__":
    main()
