"""Inspects the splits of a data set: reads every example and checks it against the contract of Batch.

`seqdigits inspect CONFIG [--config.key=value ...]` also draws a page of the results; see
cli/inspect.py.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.core.interrupt import Stop
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.data.create import create_source
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.source import TRAIN_LIMIT
from seqdigits.inspection.statistics import SplitStatistics, collect_statistics
from seqdigits.parallel.devices import Devices


def inspect(config: ConfigDict, splits: tuple[str, ...], limit: int | None, stop: Stop) -> list[SplitStatistics]:
    """Returns the statistics of each split.

    Args:
      config: validated.
      splits: the splits to inspect.
      limit: the number of examples of each split, from the first on; None = all, or 10,000 of an endless split.
      stop: ends the inspection early.

    Raises:
      UserError: data are missing or not readable.
      Stopped: `stop` was set.
    """
    devices = Devices(config.parallel)
    seen: dict[int, str] = {}
    statistics: list[SplitStatistics] = []
    for split in splits:
        source = create_source(config, split)
        endless = source.spec.num_examples is None
        count = source.count(limit or (TRAIN_LIMIT if endless else None))
        print(f"{split}: {count:,} examples{' of an endless split' if endless else ''}", flush=True)
        statistics.append(
            collect_statistics(
                source,
                split,
                batch_size=config.evaluate.batch_size,
                limit=count,
                devices=devices,
                key=stream_key(config.seed, RngStream.AUGMENT),
                photographs=config.data.composition in PHOTO_COMPOSITIONS,
                stacked=config.data.stacked,
                seen=seen,
                stop=stop,
            )
        )
    return statistics
