"""The commands: `python -m seqdigits COMMAND ...`."""

from __future__ import annotations

import difflib
import sys

from seqdigits.core import app

COMMANDS = {
    "ablate": "trains the variants of the ablation and compares them",
    "benchmark": "measures the speed of an experiment",
    "build-backgrounds": "collects natural backgrounds from Debian packages into one file",
    "build-glyphs": "draws the glyphs of synthetic scenes from fonts",
    "calibrate": "calibrates the confidences of a checkpoint on validation",
    "check-photos": "checks a folder of custom photos",
    "config": "prints a config with all keys, or the documentation of all keys",
    "draw-scenes": "draws synthetic scenes as labeled pictures",
    "find-unlabeled": "finds digits that the labels of SVHN leave out",
    "inspect": "writes a page with the statistics and faults of a data set",
    "measure": "measures the Reader on a folder of labeled pictures",
    "paste-photos": "makes private pictures to choose reading rules on",
    "peers": "compares with off-the-shelf engines on labeled pictures",
    "predict": "reads the numbers in pictures",
    "prepare": "writes the records that a config streams",
    "pretrained": "lists, publishes and measures the pretrained weights",
    "report": "writes all results as one page",
    "reproduce": "runs experiments and compares them with the published ones",
    "unpack-photos": "writes photographs of SVHN in their own size, with labels",
    "upper-bound": "prints the upper bound of accuracy of a model's grid",
}
"""Descriptions of the commands; each is `main` of the module cli/NAME.py."""


def _usage() -> str:
    lines = [f"  {name:<19}{what}" for name, what in COMMANDS.items()]
    train = "Training and evaluation: python -m seqdigits.main --help"
    return "\n".join(["usage: python -m seqdigits COMMAND [--help | ...]", "", *lines, "", train])


def _main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print(_usage())
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        print(f"error: unknown command {name!r}.{meant}\n\n{_usage()}", file=sys.stderr)
        sys.exit(2)
    sys.argv[:2] = [f"python -m seqdigits {name}"]
    app.run(f"seqdigits.cli.{name.replace('-', '_')}:main")


if __name__ == "__main__":
    _main()
