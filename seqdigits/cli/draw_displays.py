"""Draws seven-segment displays as a folder of custom photos: `seqdigits draw-displays FOLDER`.

FOLDER/train, FOLDER/validation and FOLDER/test have JPEG pictures with one number of 1 to 6 digits; FOLDER/labels.csv has the
numbers, boxes and splits. The digits of test are those of another face than the others.
"""

from __future__ import annotations

from pathlib import Path

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import displays

USAGE = "seqdigits draw-displays FOLDER [--train N] [--validation N] [--test N] [--seed S]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    for split, count in displays.COUNTS.items():
        parser.add_argument(
            f"--{split}",
            type=integer_from(1),
            default=count,
            metavar="N",
            help=f"number of pictures of {split} (default %(default)s)",
        )
    parser.add_argument(
        "--seed", type=integer_from(0), default=0, metavar="S", help="seed of all random choices (default 0)"
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits draw-displays`."""
    values = command_line().parse_command_line()
    counts = {split: getattr(values, split) for split in displays.COUNTS}
    displays.make(values.folder, counts=counts, seed=values.seed, stop=stop)
    print(f"wrote {values.folder}: {', '.join(f'{count} pictures of {split}' for split, count in counts.items())}")
