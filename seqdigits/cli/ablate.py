"""Trains the variants of the ablation and writes their table: `seqdigits ablate [VARIANT ...]`."""

from __future__ import annotations

import json
from pathlib import Path

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.experiments.ablation import is_done, load_results, run, table
from seqdigits.experiments.ablation_variants import VARIANTS

USAGE = "seqdigits ablate [VARIANT ...] [--seeds N] [--out DIR] [--workdirs DIR] [--folder DIR]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__, f"Variants: {', '.join(VARIANTS)}.", may_be_empty=("--folder",))
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="what to train; default: all")
    parser.add_argument(
        "--seeds", type=integer_from(1), default=1, metavar="N", help="seeds 0..N-1 of each variant (default 1)"
    )
    parser.add_argument(
        "--out", default="results/ablation", metavar="DIR", help="the folder of the results (default %(default)s)"
    )
    parser.add_argument(
        "--workdirs", default="runs/ablation", metavar="DIR", help="the folder of the workdirs (default %(default)s)"
    )
    parser.add_argument("--folder", default="", metavar="DIR", help="data.folder")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits ablate`."""
    values = command_line().parse_command_line()
    unknown = [name for name in values.variants if name not in VARIANTS]
    if unknown:
        raise UserError(f"unknown variant {', '.join(unknown)}. Known are {', '.join(VARIANTS)}.")

    prepare_jax()
    out, workdirs = Path(values.out), Path(values.workdirs)
    make_folder(out, "--out")
    for seed in range(values.seeds):
        for name in values.variants or VARIANTS:
            path = out / f"{name}-{seed}.json"
            if not is_done(path):
                print(f"\n--- {name}, seed {seed}", flush=True)
                result = run(name, seed, workdirs / f"{name}-{seed}", values.folder, stop)
                write_atomically(path, json.dumps(result, indent=1))
    text = table(load_results(out))
    write_atomically(out / "table.md", text)
    print(f"\n{text}")
