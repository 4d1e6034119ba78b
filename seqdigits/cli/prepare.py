"""Writes the records that a config streams: `seqdigits prepare CONFIG [--config.key=value ...]`.

Exit status: 0 success, 2 a user error, 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from absl import flags

from seqdigits.config.flags import experiment_flags, parse, with_config
from seqdigits.config_checks.validate import validate
from seqdigits.core import interrupt
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.core.progress import duration
from seqdigits.data import record_location
from seqdigits.data.manifest import open_records

USAGE = "seqdigits prepare CONFIG [--config.key=value ...] [--shards N] [--workers N]"


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_integer(
        "shards", 0, "files of the largest split; 0 = one per 2,500 examples", lower_bound=0, flag_values=values
    )
    flags.DEFINE_integer("workers", 0, "number of processes; 0 = number of cores", lower_bound=0, flag_values=values)
    return values


def main(stop: interrupt.Stop) -> None:
    """Runs `seqdigits prepare`."""
    values = command_line()
    parse(values, with_config(sys.argv), USAGE, __doc__, needed=("config",))
    prepare_jax()
    config = values["config"].value
    config.data.source = "tfrecord"
    validate(config)
    from seqdigits.data.builders.registry import builder  # needs TensorFlow, which takes seconds to import
    from seqdigits.data.builders.writer import cores

    began, workers = time.monotonic(), values["workers"].value or cores()
    written = builder(config).prepare(config.data.folder, shards=values["shards"].value, workers=workers, stop=stop)
    folder = record_location.path(config)
    shards = open_records(folder)
    size, examples = sum(shard.bytes for shard in shards), sum(shard.examples for shard in shards)
    largest = max(Counter(shard.split for shard in shards).values())
    most = max(sum(shard.examples for shard in shards if shard.split == split) for split in SPLITS)
    if not written and values["shards"].value and largest != min(values["shards"].value, most):
        raise UserError(
            f"{folder} exists with {largest} files, not --shards={values['shards'].value}. Delete it first."
        )
    how = f"written in {duration(time.monotonic() - began)}" if written else "already present and intact"
    print(f"{folder}: {examples:,} examples in {len(shards)} files, {size / 1e9:,.3f} GB, {how}", flush=True)
