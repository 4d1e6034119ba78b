"""Writes the photographs of SVHN in their own size, with labels.csv: `python -m seqdigits unpack-photos FOLDER`.

`python -m seqdigits measure` and `peers` read such a folder. The photographs are for non-commercial use only.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from seqdigits.core.arguments import parse_arguments
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import svhn, svhn_originals
from seqdigits.data.photos.labeled_folder import LabelRow, check_new_folder, new_labeled_folder

USAGE = "python -m seqdigits unpack-photos FOLDER [--photographs svhn_2000] [--split test]"


def main(stop: Stop) -> None:
    """Runs `seqdigits unpack-photos`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow FOLDER
    flags.DEFINE_enum(
        "photographs", "svhn_2000", sorted(svhn.PHOTOGRAPHS), "the set of photographs", flag_values=values
    )
    flags.DEFINE_enum("split", "test", list(SPLITS), "the split", flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    arguments = parse_arguments(values, USAGE, f"{__doc__}\n{values.get_help()}")
    if len(arguments) != 1:
        raise UserError(f"allowed is one FOLDER. usage: {USAGE}")
    folder, split = Path(arguments[0]), values["split"].value
    check_new_folder(folder)
    photos = svhn_originals.original_photos(values["photographs"].value, split, folder="")
    with new_labeled_folder(folder) as (partial, rows):
        (partial / split).mkdir()
        for photo in photos:
            if stop.is_set():
                raise Stopped
            name = f"{split}/{photo.number}.png"
            Image.fromarray(photo.pixels).save(partial / name)
            rows.append(LabelRow(name, photo.digits, photo.boxes))
    print(f"wrote {folder}: {len(photos)} photographs of the split {split}, for non-commercial use only")
