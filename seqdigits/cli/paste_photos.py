"""Makes a private set of pictures to choose reading rules on: `seqdigits paste-photos FOLDER`.

FOLDER/pasted has photographs of the validation split of SVHN train (its first 2,000), pasted into natural backgrounds so
that the digits have 3 to 15% of the height; FOLDER/no_number has parts of backgrounds without a number;
FOLDER/labels.csv has the numbers and boxes. Nothing may be trained on them.
"""

from __future__ import annotations

from pathlib import Path

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import backgrounds, paste, svhn_originals
from seqdigits.data.photos.labeled_folder import check_new_folder

USAGE = "seqdigits paste-photos FOLDER [--backgrounds FILE] [--count N] [--empty N] [--seed S]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    parser.add_argument(
        "--backgrounds",
        type=Path,
        default=backgrounds.FILE,
        metavar="FILE",
        help="the file of natural backgrounds (default %(default)s)",
    )
    parser.add_argument(
        "--count", type=integer_from(1), default=400, metavar="N", help="number of pictures with a number (default 400)"
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
    """Runs `seqdigits paste-photos`."""
    values = command_line().parse_command_line()
    folder, count, empty = values.folder, values.count, values.empty
    check_new_folder(folder)
    found = backgrounds.load(values.backgrounds, "validation")
    photos = svhn_originals.original_photos("svhn_2000", "validation")
    paste.make(folder, photos, found, count=count, empty=empty, seed=values.seed, stop=stop)
    print(
        f"wrote {folder}: {count} pictures with a number (of {len(photos)} photographs) and {empty} without, in "
        f"{len(found)} backgrounds.\nThe photographs are for non-commercial use only. Do not publish or train on them; "
        f"{folder / 'README.txt'} says more."
    )
