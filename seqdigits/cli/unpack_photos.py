"""Writes the photographs of SVHN in their own size, with labels.csv: `seqdigits unpack-photos FOLDER`.

`seqdigits measure` and `peers` read such a folder. The photographs are for non-commercial use only.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from seqdigits.core.arguments import CommandParser
from seqdigits.core.constants import SPLITS
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import svhn, svhn_originals
from seqdigits.data.photos.labeled_folder import LabelRow, check_new_folder, new_labeled_folder

USAGE = "seqdigits unpack-photos FOLDER [--photographs svhn_2000] [--split test]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    parser.add_argument(
        "--photographs",
        choices=sorted(svhn.PHOTOGRAPHS),
        default="svhn_2000",
        help="the set of photographs (default %(default)s)",
    )
    parser.add_argument("--split", choices=SPLITS, default="test", help="the split (default %(default)s)")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits unpack-photos`."""
    values = command_line().parse_command_line()
    folder, split = values.folder, values.split
    check_new_folder(folder)
    photos = svhn_originals.original_photos(values.photographs, split, folder="")
    with new_labeled_folder(folder) as (partial, rows):
        (partial / split).mkdir()
        for photo in photos:
            if stop.is_set():
                raise Stopped
            name = f"{split}/{photo.number}.png"
            Image.fromarray(photo.pixels).save(partial / name)
            rows.append(LabelRow(name, photo.digits, photo.boxes))
    print(f"wrote {folder}: {len(photos)} photographs of the split {split}, for non-commercial use only")
