"""Prints the upper bound of accuracy of a grid: `seqdigits upper-bound CONFIG`."""

from __future__ import annotations

import sys

from absl import flags
from ml_collections import ConfigDict

from seqdigits.config.flags import experiment_flags, parse, with_config
from seqdigits.core.console import render_table
from seqdigits.core.constants import SPLITS
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.evaluation.upper_bound import UpperBound, measure_upper_bound
from seqdigits.models import layer_spec

USAGE = "seqdigits upper-bound CONFIG [--split validation] [--limit N]"


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_enum("split", "validation", list(SPLITS), "the split to measure", flag_values=values)
    flags.DEFINE_integer(
        "limit",
        None,
        "number of images, at most; default: all, of train 10,000",
        lower_bound=1,
        upper_bound=2**31 - 1,
        flag_values=values,
    )
    return values


def main(stop: Stop) -> None:
    """Runs `seqdigits upper-bound`."""
    values = command_line()
    parse(values, with_config(sys.argv), USAGE, __doc__, needed=("config",))
    prepare_jax()
    config, split = values["config"].value, values["split"].value
    print(table(measure_upper_bound(config, split, values["limit"].value, stop), config))


def table(bounds: list[UpperBound], config: ConfigDict) -> str:
    """Returns the upper bounds as text for standard output, a row for each stride."""
    own = layer_spec.total_stride(layer_spec.parse(config.model.encoder, "model.encoder"))
    columns = ("stride", "grid", "one digit per cell", f"overlap <= {config.decode.max_overlap:g}", "both", "")
    rows = []
    for bound in bounds:
        shares = (f"{n / bound.images:.4f}" for n in (bound.apart, bound.separate, bound.both))
        mark = "the model's" if bound.stride == own else ""
        rows.append((str(bound.stride), "{}x{}".format(*bound.grid), *shares, mark))
    return f"{bounds[0].images:,} images\n{render_table(columns, rows, align='rrrrrl')}"
