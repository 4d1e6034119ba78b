"""Examples read by tf.data from records on disk: of sets that do not fit into memory. With builders/ the only room that imports
TensorFlow, which never touches an accelerator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.batch import Batch, Spec
from seqdigits.data import records, sources
from seqdigits.data.builders import digit_sequences, tf
from seqdigits.data.builders.records_builder import RecordsBuilder
from seqdigits.data.records import Shard
from seqdigits.data.sources import TRAIN_LIMIT, Host, Source, part
from seqdigits.errors import UserError

_FILES = 16  # read in turn
_BUFFER = 10_000  # examples that the next one is drawn from, as far as they fit into:
_BUFFER_BYTES = 200_000_000
_DECODERS = 2  # threads: 5,000 canvases a second are more than a model takes on these
_AHEAD = 2  # batches


plainly = tf.autograph.experimental.do_not_convert
"""Functions here are graphs as they stand; TensorFlow would write a translation of each to a file first."""


class StreamedSource(Source):
    """Records of one split, in an order of its own: exact by (seed, epoch, how many are skipped).

    In each epoch the files are shuffled, 16 of them are read in turn, and the next example is drawn from the 10,000 that
    were read last (fewer where they are large). Of several processes each reads a part of its own, so that each example is
    seen once in an epoch; with another number of processes, files, or another form of the records the order is another.
    """

    def __init__(self, config: ConfigDict, split: str):
        """`config`: whole; what it streams must have been written by prepare."""
        plain = config.copy_and_resolve_references()
        with plain.unlocked():
            plain.data.source = "plain"
        spec = sources.create(plain, split).spec
        length = spec.max_length
        payload = {
            "image": jax.ShapeDtypeStruct(spec.image, jnp.uint8),
            "digits": jax.ShapeDtypeStruct((length,), jnp.int32),
            "boxes": jax.ShapeDtypeStruct((length, 4), jnp.float32),
        }
        super().__init__(Spec(spec.image, length, spec.min_length, spec.num_examples, {}, payload), config.seed)
        self.statistics_limit = TRAIN_LIMIT
        self._split, self._form = split, config.data.records_form
        self._folder = records.path(config)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """None; but asking for them finds out whether the records are whole.

        Raises:
          UserError: they are not; see records.open_.
        """
        assert self._shards, "a split has at least one file"
        return {}

    @cached_property
    def _shards(self) -> list[Shard]:
        shards = records.of_split(records.open_(self._folder), self._split)
        found = sum(shard.examples for shard in shards)
        if found != self.count():
            raise UserError(
                f"{self._folder} has {found:,} examples of {self._split}, the config says {self.count():,}. "
                f"{records.anew(self._folder)}"
            )
        return shards

    def make(self, arrays: dict[str, Array], host: dict[str, Array], key: Array, train: bool) -> Batch:
        """See Source.make."""
        return Batch(image=host["image"], digits=host["digits"], boxes=host["boxes"], index=host["index"])

    def batches(self, start: int, batch_size: int) -> Iterator[Host]:
        """See Source.batches; the order is that of the class."""
        mine = part(batch_size)
        rows = mine.high - mine.low
        count = self.count()
        low, high = count * mine.low // batch_size, count * mine.high // batch_size
        if low == high:
            raise UserError(f"{count:,} examples are too few for {jax.process_count()} processes.")
        epoch, skip = divmod(start * rows, high - low)
        stream = self._decoded(self._endless(low, high, epoch, skip)).batch(rows).prefetch(_AHEAD)
        for step, values in enumerate(self._read(stream), start):
            position = np.arange(step * batch_size + mine.low, step * batch_size + mine.high)
            yield self._host(mine, values, position)

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[Host]:
        """See Source.all; in the order in which they lie."""
        mine, count = part(batch_size), self.count(limit)
        processes, process = jax.process_count(), jax.process_index()
        low, high = count * process // processes, count * (process + 1) // processes
        stream = self._decoded(self._in_order(low, high)).batch(mine.size).prefetch(_AHEAD)
        reading, given = self._read(stream), 0
        most = -(-count // processes)  # examples that a process has, at most
        for _ in range(0, most, mine.size):
            values = next(reading, None)
            if values is None:
                yield self._empty(mine.size)
            else:
                given += len(values["index"])
                yield self._host(mine, values, values["index"])
        if given != high - low:
            raise self._explained(f"{given:,} of {high - low:,} examples were read")

    # Order

    def _endless(self, low: int, high: int, epoch: int, skip: int) -> tf.data.Dataset:
        """Records low..high-1 of the split, epoch after epoch, each in an order of its own, from a place on."""
        names, skips, takes = self._files(low, high)
        per_example = sum(shard.bytes for shard in self._shards) // self.count() + 1
        buffer = max(1, min(_BUFFER, high - low, _BUFFER_BYTES // per_example))
        seed = self._order_seed

        @plainly
        def one(e: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(len(names)), seed=[seed, e])
            files = tf.data.Dataset.from_tensor_slices(tuple(tf.gather(x, order) for x in (names, skips, takes)))
            read = files.interleave(_records, cycle_length=_FILES, num_parallel_calls=1, deterministic=True)
            read = read.apply(tf.data.experimental.assert_cardinality(high - low))
            mixed = tf.random.stateless_uniform([], [seed, e], maxval=2**62, dtype=tf.int64)
            read = read.shuffle(buffer, seed=mixed, reshuffle_each_iteration=False)
            return read.skip(tf.where(e == epoch, tf.constant(skip, tf.int64), 0))

        return tf.data.Dataset.range(epoch, np.iinfo(np.int64).max).flat_map(one)

    def _in_order(self, low: int, high: int) -> tf.data.Dataset:
        names, skips, takes = self._files(low, high)
        files = (tf.constant(names, tf.string), skips, takes)
        return tf.data.Dataset.from_tensor_slices(files).flat_map(_records)

    def _files(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which records lie where: names of files, how many to skip in each, how many to take."""
        found = list(records.ranges(self._shards, low, high))
        names = [os.fspath(self._folder / shard.name) for shard, _, _ in found]
        skips, takes = ([part[i] for part in found] for i in (1, 2))
        return np.array(names, object), np.array(skips, np.int64), np.array(takes, np.int64)

    # Content

    def _decoded(self, serialized: tf.data.Dataset) -> tf.data.Dataset:
        return serialized.map(plainly(self._decode), num_parallel_calls=_DECODERS, deterministic=True)

    def _decode(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        length, shape = self.spec.max_length, self.spec.image
        found = tf.io.parse_single_example(
            serialized,
            {
                "image": tf.io.FixedLenFeature((), tf.string),
                "digits": tf.io.FixedLenFeature((length,), tf.int64),
                "boxes": tf.io.FixedLenFeature((length, 4), tf.float32),
                "index": tf.io.FixedLenFeature((), tf.int64),
            },
        )
        return {
            "image": tf.reshape(_pixels(found["image"], self._form, shape[2]), shape),
            "digits": tf.cast(found["digits"], tf.int32),
            "boxes": found["boxes"],
            "index": tf.cast(found["index"], tf.int32),
        }

    def _read(self, stream: tf.data.Dataset) -> Iterator[dict[str, np.ndarray]]:
        options = tf.data.Options()
        options.autotune.enabled = False  # it would take memory and threads as it likes
        options.deterministic = True
        options.threading.private_threadpool_size = _DECODERS
        failed = tf.errors.OpError  # by name it could not be found any more when the interpreter ends
        try:
            yield from stream.with_options(options).as_numpy_iterator()
        except failed as e:
            raise self._explained(e.message) from e

    def _host(self, mine: sources.Part, values: dict[str, np.ndarray], position: np.ndarray) -> Host:
        """A batch filled up with padding: its first row again, with index -1."""
        missing = mine.size - len(values["index"])
        host = mine.host(values["index"], position)
        for name in self.spec.payload:
            value = values[name]
            host[name] = np.concatenate([value, np.repeat(value[:1], missing, 0)]) if missing else value
        return host

    def _empty(self, rows: int) -> Host:
        host = {name: np.zeros(one.shape, one.dtype) for name, one in self.spec.host(rows).items()}
        return {**host, "index": np.full(rows, -1, np.int32)}

    # Damage

    def _explained(self, reason: str) -> UserError:
        """What is wrong with the records, with the file named."""
        for shard in self._shards:
            path = self._folder / shard.name
            try:
                if records.sha256(path) != shard.sha256:
                    return UserError(f"{path} is damaged: its SHA-256 differs. {records.anew(self._folder)}")
            except OSError as e:
                return UserError(f"{path} cannot be read: {e.strerror}. {records.anew(self._folder)}")
        return UserError(f"{self._folder}: reading failed, though all files are as they were written: {reason[:300]}")


def create(config: ConfigDict, split: str) -> StreamedSource:
    """The source of one split, read from records."""
    return StreamedSource(config, split)


def builder(config: ConfigDict) -> RecordsBuilder:
    """The TFDS builder of the records that a config streams."""
    return digit_sequences.builder(config)


@plainly
def _records(name: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(name).skip(skip).take(take)


def _pixels(data: tf.Tensor, form: str, channels: int) -> tf.Tensor:
    """u8, from one of records.FORMS."""
    if form == "png":
        return tf.io.decode_png(data, channels)
    if form == "raw":
        return tf.io.decode_raw(data, tf.uint8)
    return tf.cast(tf.round(tf.io.decode_raw(data, tf.float64) * 255), tf.uint8)
