"""Writes the photographs of SVHN in their own size, with labels.csv: `seqdigits unpack-photos FOLDER`.

`seqdigits measure` and `peers` read such a folder. With several splits, labels.csv has a column `split`, and the folder can be
trained on, as custom photos. The photographs are for non-commercial use only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from seqdigits.core.arguments import CommandParser, one_of, separated_by_commas
from seqdigits.core.constants import SPLITS
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import svhn, svhn_originals
from seqdigits.data.photos.crop import MARGIN, crop_to_number
from seqdigits.data.photos.labeled_folder import LabelRow, check_new_folder, new_labeled_folder

USAGE = "seqdigits unpack-photos FOLDER [--photographs svhn_2000] [--split train,validation,test] [--crops]"


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
    parser.add_argument(
        "--split",
        type=separated_by_commas(one_of(SPLITS)),
        default=["test"],
        help="the splits, separated by commas (default test)",
    )
    parser.add_argument(
        "--crops",
        action="store_true",
        help=f"only the part around the true boxes of the digits, {MARGIN:.0%}% more on each side",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits unpack-photos`."""
    values = command_line().parse_command_line()
    unpack(values.folder, values.photographs, values.split, values.crops, stop)


def unpack(folder: Path, photographs: str, splits: Sequence[str], crops: bool, stop: Stop) -> None:
    """Writes the photographs of splits into a new folder, and prints how many.

    Args:
      folder: must not exist or be empty.
      photographs: a key of svhn.PHOTOGRAPHS.
      splits: with several, labels.csv has a column `split`.
      crops: writes the part around the true boxes alone.
      stop: ends the command; the folder is then not made.

    Raises:
      UserError: the folder is not empty or cannot be written; a crop has no area; or see svhn.load.
      Stopped: `stop` was set.
    """
    check_new_folder(folder)
    photos = {split: svhn_originals.original_photos(photographs, split) for split in splits}
    with new_labeled_folder(folder) as (partial, rows):
        for split in splits:
            (partial / split).mkdir()
            for photo in photos[split]:
                if stop.is_set():
                    raise Stopped
                name = f"{split}/{photo.number}.png"
                pixels, boxes = photo.pixels, photo.boxes
                if crops:
                    pixels, boxes = crop_to_number(pixels, boxes, f"{photographs}, {name}")
                Image.fromarray(pixels).save(partial / name)
                rows.append(LabelRow(name, photo.digits, boxes, split if len(splits) > 1 else ""))
    count = sum(map(len, photos.values()))
    named = f"split {splits[0]}" if len(splits) == 1 else f"splits {', '.join(splits)}"
    print(
        f"wrote {folder}: {count} {'crops of ' if crops else ''}photographs of the {named}, for non-commercial use only"
    )
