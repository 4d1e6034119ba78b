"""Know your data: `python -m seqdigits inspect configs/X.py [--config.key=value ...]` looks at every example, checks it
against the contract of Batch, and draws one page of what there is.

Exit status: 0 done, 2 an error of the user's or a fault in the data, 130 or 143 stopped by a signal.
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
    """Looks at whole splits, or the first `limit` examples of each; of an endless one at the first 10,000.

    Raises:
      UserError: data are missing or cannot be read.
      Stopped: `stop` was set.
    """

    devices = Devices(config.parallel)
    seen: dict[int, str] = {}
    statistics: list[SplitStatistics] = []
    for split in splits:
        source = create_source(config, split)
        endless = source.spec.num_examples is None
        count = source.count(limit or (TRAIN_LIMIT if endless else None))
        print(f"{split}: {count:,} examples{', the first of endlessly many' if endless else ''}", flush=True)
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
