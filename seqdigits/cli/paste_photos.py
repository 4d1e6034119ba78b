"""Makes a private set of pictures to choose reading rules on: `python -m seqdigits paste-photos FOLDER`.

FOLDER/pasted has photographs of the validation split of SVHN train (its first 2,000), pasted into natural backgrounds so
that the digits have 3 to 15% of the height; FOLDER/no_number has parts of backgrounds without a number;
FOLDER/labels.csv has the numbers and boxes. Nothing may be trained on them.
"""

from __future__ import annotations

from pathlib import Path

from seqdigits.core.arguments import parse_arguments
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import backgrounds, paste, svhn_originals
from seqdigits.data.photos.labeled_folder import check_new_folder

USAGE = "python -m seqdigits paste-photos FOLDER [--backgrounds FILE] [--count N] [--empty N] [--seed S]"


def main(stop: Stop) -> None:
    """Runs `seqdigits paste-photos`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow FOLDER
    file = str(backgrounds.FILE)
    flags.DEFINE_string("backgrounds", file, "the file of natural backgrounds", flag_values=values)
    flags.DEFINE_integer("count", 400, "number of pictures with a number", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("empty", 250, "number of pictures without a number", lower_bound=0, flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of all random choices", lower_bound=0, flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    arguments = parse_arguments(values, USAGE, f"{__doc__}\n{values.get_help()}")
    if not arguments:
        raise UserError(f"FOLDER is missing. usage: {USAGE}")
    if len(arguments) != 1:
        raise UserError(f"{' '.join(arguments[1:])!r} is not understood. usage: {USAGE}")
    folder, count, empty = Path(arguments[0]), values["count"].value, values["empty"].value
    check_new_folder(folder)
    found = backgrounds.load(Path(values["backgrounds"].value), "validation")
    photos = svhn_originals.original_photos("svhn_2000", "validation", folder="")
    paste.make(folder, photos, found, count=count, empty=empty, seed=values["seed"].value, stop=stop)
    print(
        f"wrote {folder}: {count} pictures with a number (of {len(photos)} photographs) and {empty} without, in "
        f"{len(found)} backgrounds.\nThe photographs are for non-commercial use only. Do not publish or train on them; "
        f"{folder / 'README.txt'} says more."
    )
