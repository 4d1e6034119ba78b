"""Draws synthetic scenes as labeled pictures of 640x480: `python -m seqdigits draw-scenes FOLDER`.

FOLDER/scene has pictures with one number, whose digits have 3 to 100% of the height; FOLDER/no_number has none;
FOLDER/labels.csv has the numbers and boxes. Digits, type faces and backgrounds are those of one split.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from seqdigits.config.flags import prepare_jax
from seqdigits.core.arguments import parse_arguments
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.labeled_folder import check_new_folder
from seqdigits.data.scenes import pictures

USAGE = "python -m seqdigits draw-scenes FOLDER [--split validation] [--backgrounds FILE] [--count N] [--empty N] [--seed S]"


def main(stop: Stop) -> None:
    """Runs `seqdigits draw-scenes`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow FOLDER
    flags.DEFINE_enum("split", "validation", SPLITS, "of digits, type faces and backgrounds", flag_values=values)
    file = str(backgrounds.FILE)
    flags.DEFINE_string("backgrounds", file, 'the file of natural backgrounds; "" = none', flag_values=values)
    flags.DEFINE_integer("count", 500, "number of pictures with a number", lower_bound=0, flag_values=values)
    flags.DEFINE_integer("empty", 250, "number of pictures without a number", lower_bound=0, flag_values=values)
    flags.DEFINE_integer("seed", 0, "seed of all random choices", lower_bound=0, flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    arguments = parse_arguments(values, USAGE, f"{__doc__}\n{values.get_help()}")
    if not arguments:
        raise UserError(f"FOLDER is missing. usage: {USAGE}")
    if len(arguments) != 1:
        raise UserError(f"{' '.join(arguments[1:])!r} is not understood. usage: {USAGE}")
    folder, split, count, empty = (
        Path(arguments[0]),
        values["split"].value,
        values["count"].value,
        values["empty"].value,
    )
    if not count + empty:
        raise UserError("--count = 0 and --empty = 0: there is nothing to draw. Raise one of them.")
    check_new_folder(folder)
    prepare_jax()
    file = values["backgrounds"].value
    photographs = backgrounds.pixels_of(file, split) if file else []
    source = pictures.create_pictures(split, values["seed"].value, "", partial(list, photographs) if file else None)
    pictures.make(folder, source, count=count, empty=empty, stop=stop)
    print(f"wrote {folder}: {count} pictures with a number and {empty} without.")
