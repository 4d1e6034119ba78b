"""Trains the variants of the ablation and writes their table: `python -m seqdigits ablate [VARIANT ...]`."""

from __future__ import annotations

import json
from pathlib import Path

from seqdigits.config.flags import prepare_jax
from seqdigits.core.arguments import parse_arguments
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.experiments.ablation import is_done, load_results, run, table
from seqdigits.experiments.ablation_variants import VARIANTS

USAGE = "python -m seqdigits ablate [VARIANT ...] [--seeds N] [--out DIR] [--workdirs DIR] [--folder DIR]"


def main(stop: Stop) -> None:
    """Runs `seqdigits ablate`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow names
    flags.DEFINE_integer("seeds", 1, "seeds 0..N-1 of each variant", lower_bound=1, flag_values=values)
    flags.DEFINE_string("out", "results/ablation", "the folder of the results", flag_values=values)
    flags.DEFINE_string("workdirs", "runs/ablation", "the folder of the workdirs", flag_values=values)
    flags.DEFINE_string("folder", "", "data.folder", flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    names = parse_arguments(values, USAGE, f"{values.get_help()}\n\nVariants: {', '.join(VARIANTS)}.")
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise UserError(f"unknown variant {', '.join(unknown)}. Known are {', '.join(VARIANTS)}.")

    prepare_jax()
    out, workdirs = Path(values["out"].value), Path(values["workdirs"].value)
    make_folder(out, "--out")
    for seed in range(values["seeds"].value):
        for name in names or VARIANTS:
            path = out / f"{name}-{seed}.json"
            if not is_done(path):
                print(f"\n--- {name}, seed {seed}", flush=True)
                result = run(name, seed, workdirs / f"{name}-{seed}", values["folder"].value, stop)
                write_atomically(path, json.dumps(result, indent=1))
    text = table(load_results(out))
    write_atomically(out / "table.md", text)
    print(f"\n{text}")
