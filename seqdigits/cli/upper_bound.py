"""Prints the upper bound of accuracy of a grid: `python -m seqdigits upper-bound --config configs/X.py`."""

from __future__ import annotations

import sys

from ml_collections import ConfigDict

from seqdigits.config.flags import experiment_flags, parse, prepare_jax
from seqdigits.core.constants import SPLITS
from seqdigits.core.interrupt import Stop
from seqdigits.evaluation.upper_bound import UpperBound, measure_upper_bound
from seqdigits.models import layer_spec

USAGE = "python -m seqdigits upper-bound --config configs/X.py [--split validation] [--limit N]"


def main(stop: Stop) -> None:
    from absl import flags

    values = experiment_flags()
    flags.DEFINE_enum("split", "validation", list(SPLITS), "of the data", flag_values=values)
    flags.DEFINE_integer(
        "limit",
        None,
        "images, at most; default: all, of train 10,000",
        lower_bound=1,
        upper_bound=2**31 - 1,
        flag_values=values,
    )
    parse(values, sys.argv, USAGE, needed=("config",))
    prepare_jax()
    config, split = values["config"].value, values["split"].value
    print(table(measure_upper_bound(config, split, values["limit"].value, stop), config))


def table(bounds: list[UpperBound], config: ConfigDict) -> str:
    """The shares for a person, a row for each stride."""

    own = layer_spec.total_stride(layer_spec.parse(config.model.encoder, "model.encoder"))
    heads = ("grid", "one digit a cell", f"overlap to {config.decode.max_overlap:g}", "both")
    lines = [f"{bounds[0].images:,} images", "stride".rjust(8) + "".join(f"{head:>18}" for head in heads)]
    for c in bounds:
        cells = (f"{c.grid[0]}x{c.grid[1]}", *(f"{n / c.images:.4f}" for n in (c.apart, c.separate, c.both)))
        mark = "  the model's" if c.stride == own else ""
        lines.append(f"{c.stride:>8}" + "".join(f"{cell:>18}" for cell in cells) + mark)
    return "\n".join(lines)
