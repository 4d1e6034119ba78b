"""Finds numbers that a reader sees where there are none: `seqdigits find-misread`.

Random parts of the natural backgrounds of training are read. Those in which a number is seen are written to a file, which
training on scenes shows in half of the views without a number (data.misread). Rerun it when the weights have changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded, make_folder, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.data.photos import backgrounds
from seqdigits.data.scenes.misread import SLOTS
from seqdigits.inference import misread
from seqdigits.inference.reader import Reader

USAGE = f"""{backgrounds.MISREAD.command} [--weights NAME | --workdir W] [--backgrounds FILE] [--add FILE] [--out FILE]
       [--pictures N] [--seed S]"""
FILE = Path("~/.cache/seqdigits/misread.jpg")


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument(
        "--weights", metavar="NAME", help=f"the name of pretrained weights (default {pretrained.DEFAULT})"
    )
    parser.add_argument(
        "--workdir", metavar="W", help="the folder of a run, or a file of weights, in place of pretrained weights"
    )
    parser.add_argument(
        "--backgrounds",
        type=Path,
        default=backgrounds.FILE,
        metavar="FILE",
        help="the file of natural backgrounds (default %(default)s)",
    )
    parser.add_argument(
        "--add",
        type=Path,
        metavar="FILE",
        help="an earlier file, whose false numbers are written too, after the new ones",
    )
    parser.add_argument(
        "--out", type=Path, default=FILE, metavar="FILE", help="the file to write (default %(default)s)"
    )
    parser.add_argument(
        "--pictures", type=integer_from(1), default=6000, metavar="N", help="number of parts to read (default 6000)"
    )
    parser.add_argument("--seed", type=integer_from(0), default=0, metavar="S", help="seed of the parts (default 0)")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits find-misread`."""
    values = command_line().parse_command_line()
    if values.weights and values.workdir:
        raise UserError("--weights and --workdir cannot be combined. Leave one out.")
    out = expanded(values.out)
    if out.exists():
        raise UserError(f"--out {out} exists already, and a run may depend on it. Name another file, or remove it.")
    photographs = backgrounds.load(values.backgrounds, "train")
    if values.add and not expanded(values.add).exists():
        raise UserError(f"--add {values.add} is missing. Name a file that this command wrote, or leave --add out.")
    earlier = backgrounds.load(values.add, "train", backgrounds.MISREAD) if values.add else []
    make_folder(out.parent, "--out")
    if values.workdir:
        prepare_jax()
        reader = Reader.from_workdir(values.workdir)
    else:
        reader = Reader.from_pretrained(values.weights or pretrained.DEFAULT)
    found = misread.find(reader, photographs, values.pictures, values.seed, stop)
    if not found:
        keep = f", or use {values.add} as it is" if values.add else ""
        raise UserError(
            f"no false number was seen, so that {out} was not written. Raise --pictures = {values.pictures}{keep}."
        )
    kept, kept_earlier = found[:SLOTS], earlier[: max(0, SLOTS - len(found))]
    entries = [_entry(one.background, one.part) for one in kept] + [_entry(one, one.pixels) for one in kept_earlier]
    write_atomically(out, backgrounds.encode(entries, backgrounds.MISREAD))
    added = f"; and {len(kept_earlier)} of the {len(earlier)} of {values.add}" if values.add else ""
    print(
        f"wrote {out}: {len(kept)} of {len(found)} false numbers, seen in {len({one.background.name for one in kept})} of "
        f"{len(photographs)} backgrounds, with a confidence from {kept[-1].confidence:.2f} to {kept[0].confidence:.2f}{added}"
    )


def _entry(background: backgrounds.Background, part: np.ndarray) -> backgrounds.Entry:
    package, name = background.name.split("/", 1)
    return backgrounds.Entry(name, package, background.version, background.license, Image.fromarray(part))
