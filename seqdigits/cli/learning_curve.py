"""Draws how accuracy grows with the number of training pictures: `seqdigits learning-curve [FOLDER ...]`.

FOLDER has custom photos with boxes (`seqdigits check-photos --help`), in the splits train, validation and test. For each number
of pictures one network is initialized from the pretrained weights `scene` and one at random. OUT gets NAME.json for each
folder, table.md and learning_curve.png. Rerun the same command to resume. It runs at the lowest priority.

Without FOLDER: runs/displays and runs/house_numbers, which are made if they are missing, by `seqdigits draw-displays` and
`seqdigits unpack-photos`. The latter needs the archives of SVHN.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from seqdigits.cli.unpack_photos import unpack
from seqdigits.core.arguments import CommandParser, integer_from, separated_by_commas
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded, make_folder, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.data.photos import displays
from seqdigits.experiments import learning_curve, learning_curve_table

USAGE = "seqdigits learning-curve [FOLDER ...] [--sizes 20,50,100] [--steps N] [--out DIR] [--workdirs DIR]"
DISPLAYS, HOUSE_NUMBERS = Path("runs/displays"), Path("runs/house_numbers")


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of photos and labels.csv")
    parser.add_argument(
        "--sizes",
        type=separated_by_commas(integer_from(1)),
        default=list(learning_curve.SIZES),
        metavar="N,N",
        help=f"numbers of training pictures, separated by commas (default {','.join(map(str, learning_curve.SIZES))})",
    )
    parser.add_argument(
        "--steps",
        type=integer_from(1),
        default=0,
        metavar="N",
        help="training steps of each run (default: "
        + ", ".join(f"{learning_curve.steps_of(size):,} for {size}" for size in learning_curve.SIZES)
        + ")",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/learning_curve"),
        metavar="DIR",
        help="the folder of the results (default %(default)s)",
    )
    parser.add_argument(
        "--workdirs",
        type=Path,
        default=Path("runs/learning_curve"),
        metavar="DIR",
        help="the folder of the workdirs (default %(default)s)",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits learning-curve`."""
    values = command_line().parse_command_line()
    folders = values.folders or [DISPLAYS, HOUSE_NUMBERS]
    names = Counter(expanded(folder).resolve().name for folder in folders)
    if len(names) < len(folders):
        name = names.most_common(1)[0][0]
        raise UserError(f"FOLDER: two folders are named {name}, and results go by this name. Rename one of them.")
    make_folder(values.out, "--out")
    os.nice(19)  # the lowest priority, in which the machine stays usable
    if not values.folders:
        if not DISPLAYS.exists():
            displays.make(DISPLAYS, counts=displays.COUNTS, seed=0, stop=stop)
        if not HOUSE_NUMBERS.exists():
            unpack(HOUSE_NUMBERS, "svhn_2000", SPLITS, False, stop)
    for folder in folders:
        learning_curve.check(folder, values.sizes)
    prepare_jax()
    curves = [
        learning_curve.learning_curve(
            folder, values.sizes, out=values.out, workdirs=values.workdirs, steps=values.steps, stop=stop
        )
        for folder in folders
    ]
    text = learning_curve_table.table(curves)
    write_atomically(values.out / "table.md", text)
    write_atomically(values.out / "learning_curve.png", learning_curve_table.chart(curves))
    print(f"\n{text}\nwrote {values.out / 'learning_curve.png'}")
