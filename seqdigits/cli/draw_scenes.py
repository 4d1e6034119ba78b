"""Draws synthetic scenes as labeled pictures of 640x480: `seqdigits draw-scenes FOLDER`.

FOLDER/scene has pictures with one number, whose digits have 3 to 100% of the height; FOLDER/no_number has none;
FOLDER/labels.csv has the numbers and boxes. Digits, type faces and backgrounds are those of one split.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.labeled_folder import check_new_folder
from seqdigits.data.scenes import pictures

USAGE = "seqdigits draw-scenes FOLDER [--split validation] [--backgrounds FILE] [--count N] [--empty N] [--seed S]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__, may_be_empty=("--backgrounds",))
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="validation",
        help="of digits, type faces and backgrounds (default %(default)s)",
    )
    parser.add_argument(
        "--backgrounds",
        default=str(backgrounds.FILE),
        metavar="FILE",
        help='the file of natural backgrounds; "" = none (default %(default)s)',
    )
    parser.add_argument(
        "--count", type=integer_from(0), default=500, metavar="N", help="number of pictures with a number (default 500)"
    )
    parser.add_argument(
        "--empty",
        type=integer_from(0),
        default=250,
        metavar="N",
        help="number of pictures without a number (default 250)",
    )
    parser.add_argument(
        "--seed", type=integer_from(0), default=0, metavar="S", help="seed of all random choices (default 0)"
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits draw-scenes`."""
    values = command_line().parse_command_line()
    folder, split, count, empty = values.folder, values.split, values.count, values.empty
    if not count + empty:
        raise UserError("--count = 0 and --empty = 0: there is nothing to draw. Raise one of them.")
    check_new_folder(folder)
    prepare_jax()
    file = values.backgrounds
    photographs = backgrounds.pixels_of(file, split) if file else []
    source = pictures.create_pictures(split, values.seed, partial(list, photographs) if file else None)
    pictures.make(folder, source, count=count, empty=empty, stop=stop)
    print(f"wrote {folder}: {count} pictures with a number and {empty} without.")
