"""Examples read by tf.data from records on disk: of sets that do not fit into memory. With builders/ the only room that imports
TensorFlow, which never touches an accelerator."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.files import sha256
from seqdigits.core.types import Batch, HostBatch
from seqdigits.data import record_location
from seqdigits.data.builders import svhn_numbers, tf
from seqdigits.data.manifest import Shard, how_to_write_again, open_records, read_about, shard_ranges, shards_of_split
from seqdigits.data.photos import svhn
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.photos.source import cut_out
from seqdigits.data.source import DataSource
from seqdigits.data.tfdata import resize
from seqdigits.parallel.processes import ProcessSlice, process_slice

_FILES = 16  # read in turn
_BUFFER = 10_000  # examples that the next one is drawn from, as far as they fit into:
_BUFFER_BYTES = 40_000_000  # more would be scattered over gigabytes by the allocator
_DECODERS = 2  # threads: 5,000 canvases a second are more than a model takes on these
_AHEAD = 2  # batches

plainly = tf.autograph.experimental.do_not_convert
"""Functions here are graphs as they stand; TensorFlow would write a translation of each to a file first."""


class StreamedSource(DataSource):
    """Records of one split, in an order of its own: exact by (seed, epoch, how many are skipped).

    In each epoch the files are shuffled, 16 of them are read in turn, and the next example is drawn from the 10,000 that
    were read last (fewer where they are large). Of several processes each reads a part of its own, so that each example is
    seen once in an epoch; with another number of processes, files, or another form of the records the order is another.
    """

    def __init__(self, config: ConfigDict, split: str, same: DataSource):
        """`config`: whole; what it streams must have been written by prepare. `same`: a source of the same examples."""
        spec, data = same.spec, config.data
        stored = (data.height, data.width, spec.image[2]) if data.cutout else spec.image
        payload = {
            "image": jax.ShapeDtypeStruct(stored, jnp.uint8),
            "digits": jax.ShapeDtypeStruct((spec.max_length,), jnp.int32),
            "boxes": jax.ShapeDtypeStruct((spec.max_length, 4), jnp.float32),
        }
        super().__init__(dataclasses.replace(spec, arrays={}, payload=payload), config.seed)
        self.statistics_limit = same.statistics_limit
        self._split, self._data = split, data
        self._folder = record_location.path(config)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """None; but asking for them finds out whether the records are whole.

        Raises:
          UserError: they are not; see manifest.open_records.
        """
        assert self._shards, "a split has at least one file"
        return {}

    @cached_property
    def _shards(self) -> list[Shard]:
        """The files that have the split's records."""
        shards = shards_of_split(open_records(self._folder), self._split)
        self._refuse_count(sum(shard.examples for shard in shards))
        return shards

    def _refuse_count(self, found: int) -> None:
        if found != self.count():
            raise UserError(
                f"{self._folder} has {found:,} examples of {self._split}, the config says {self.count():,}. "
                f"{how_to_write_again(self._folder)}"
            )

    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """See Source.make."""
        image, digits, boxes = (host_batch[name] for name in ("image", "digits", "boxes"))
        side = self._data.cutout
        if side:
            image, boxes = cut_out(image, digits, boxes, side, host_batch["position"], key if train else None)
        return Batch(image=image, digits=digits, boxes=boxes, index=host_batch["index"])

    def batches(self, start: int, batch_size: int) -> Iterator[HostBatch]:
        """See Source.batches; the order is that of the class."""
        mine = process_slice(batch_size)
        rows = mine.high - mine.low
        count = self.count()
        low, high = count * mine.low // batch_size, count * mine.high // batch_size
        if low == high:
            raise UserError(f"{count:,} examples are too few for {jax.process_count()} processes.")
        epoch, skip = divmod(start * rows, high - low)
        stream = self._decoded(self._endless(low, high, epoch, skip)).batch(rows).prefetch(_AHEAD)
        for step, values in enumerate(self._read(stream), start):
            position = np.arange(step * batch_size + mine.low, step * batch_size + mine.high)
            yield self._host_batch(mine, values, position)

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[HostBatch]:
        """See Source.all; in the order in which they lie."""
        mine, count = process_slice(batch_size), self.count(limit)
        processes, process = jax.process_count(), jax.process_index()
        low, high = count * process // processes, count * (process + 1) // processes
        files, read = self._files(low, high)
        in_order = tf.data.Dataset.from_tensor_slices(files).flat_map(read)
        prediction, given = self._read(self._decoded(in_order).batch(mine.size).prefetch(_AHEAD)), 0
        most = -(-count // processes)  # examples that a process has, at most
        for _ in range(0, most, mine.size):
            values = next(prediction, None)
            if values is None:
                yield self._empty(mine.size)
            else:
                given += len(values["index"])
                yield self._host_batch(mine, values, values["index"])
        if given != high - low:
            raise self._explained(f"{given:,} of {high - low:,} examples were read")

    # Order

    def _endless(self, low: int, high: int, epoch: int, skip: int) -> tf.data.Dataset:
        """Examples low..high-1 of the split, epoch after epoch, each in an order of its own, from a place on."""
        files, read = self._files(low, high)
        per_example = sum(shard.bytes for shard in self._shards) // sum(shard.examples for shard in self._shards) + 1
        buffer = max(1, min(_BUFFER, high - low, _BUFFER_BYTES // per_example))
        seed = self._order_seed

        @plainly
        def one(e: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(len(files[0])), seed=[seed, e])
            shuffled = tf.data.Dataset.from_tensor_slices(tuple(tf.gather(x, order) for x in files))
            found = shuffled.interleave(read, cycle_length=_FILES, num_parallel_calls=1, deterministic=True)
            found = found.apply(tf.data.experimental.assert_cardinality(high - low))
            mixed = tf.random.stateless_uniform([], [seed, e], maxval=2**62, dtype=tf.int64)
            found = found.shuffle(buffer, seed=mixed, reshuffle_each_iteration=False)
            return found.skip(tf.where(e == epoch, tf.constant(skip, tf.int64), 0))

        return tf.data.Dataset.range(epoch, np.iinfo(np.int64).max).flat_map(one)

    def _files(self, low: int, high: int) -> tuple[tuple[tf.Tensor, ...], Callable[..., tf.data.Dataset]]:
        """What to read for examples low..high-1: some values for each file, and what makes of these a data set of pairs, the
        index and the serialized record."""
        found = list(shard_ranges(self._shards, low, high))
        firsts = low + np.cumsum([0, *(take for _, _, take in found)])[:-1]
        skips, takes = [skip for _, skip, _ in found], [take for _, _, take in found]

        @plainly
        def read(name: tf.Tensor, skip: tf.Tensor, take: tf.Tensor, first: tf.Tensor) -> tf.data.Dataset:
            serialized = tf.data.TFRecordDataset(name).skip(skip).take(take)
            return tf.data.Dataset.zip((tf.data.Dataset.range(first, first + take), serialized))

        return (self._names(shard for shard, _, _ in found), *_int64(skips, takes, firsts)), read

    def _names(self, shards: Iterable[Shard]) -> tf.Tensor:
        return tf.constant([os.fspath(self._folder / shard.name) for shard in shards], tf.string)

    # Content

    def _decoded(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        return examples.map(plainly(self._decode), num_parallel_calls=_DECODERS, deterministic=True)

    def _decode(self, index: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        found = _parsed(serialized, self.spec.max_length)
        image = tf.reshape(_pixels(found["image"], self._data.records_form), self.spec.payload["image"].shape)
        digits = tf.cast(found["digits"], tf.int32)
        with tf.control_dependencies([tf.debugging.assert_equal(found["index"], index, "a record in another's place")]):
            index = tf.identity(index)
        return {"image": image, "digits": digits, "boxes": found["boxes"], "index": tf.cast(index, tf.int32)}

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

    def _host_batch(self, mine: ProcessSlice, values: dict[str, np.ndarray], position: np.ndarray) -> HostBatch:
        """A batch filled up with padding: its first row again, with index -1."""
        missing = mine.size - len(values["index"])
        host_batch = mine.host_batch(values["index"], position)
        for name in self.spec.payload:
            value = values[name]
            host_batch[name] = np.concatenate([value, np.repeat(value[:1], missing, 0)]) if missing else value
        return host_batch

    def _empty(self, rows: int) -> HostBatch:
        host_batch = {name: np.zeros(one.shape, one.dtype) for name, one in self.spec.host_batch(rows).items()}
        return {**host_batch, "index": np.full(rows, -1, np.int32)}

    # Damage

    def _explained(self, reason: str) -> UserError:
        """What is wrong with the records, with the file named."""
        for shard in self._shards:
            path = self._folder / shard.name
            try:
                if sha256(path) != shard.sha256:
                    return UserError(f"{path} is damaged: its SHA-256 differs. {how_to_write_again(self._folder)}")
            except OSError as e:
                return UserError(f"{path} cannot be read: {e.strerror}. {how_to_write_again(self._folder)}")
        return UserError(f"{self._folder}: reading failed, though all files are as they were written: {reason[:300]}")


class StreamedPhotographs(StreamedSource):
    """Photographs at their own size on disk, squeezed as they are read: the same pixels, byte for byte, as the resident ones.

    A split of house numbers is not a range of records: each process reads all records of its parts, and decodes its own.
    """

    @cached_property
    def _shards(self) -> list[Shard]:
        found = [shard for name in self._which for shard in shards_of_split(self._all_shards, name)]
        self._refuse_count(sum(int((which >= 0).sum()) for which in self._which.values()))
        return found

    @cached_property
    def _all_shards(self) -> list[Shard]:
        return open_records(self._folder)

    @cached_property
    def _which(self) -> dict[str, np.ndarray]:
        """For each split of the records that this one is made of: which example each record is, by its index; -1 = none."""
        data = self._data
        if data.photographs == "folder":
            there = sum(shard.examples for shard in shards_of_split(self._all_shards, self._split))
            return {self._split: np.arange(there, dtype=np.int32)}
        digits = read_about(self._folder)["lengths"]
        lengths = {name: np.array([int(n) for n in text], np.int32) for name, text in digits.items()}
        return svhn.examples(data.photographs, tuple(data.parts), self._split, data.max_length, lengths)

    def _files(self, low: int, high: int) -> tuple[tuple[tf.Tensor, ...], Callable[..., tf.data.Dataset]]:
        edges = dict(zip(self._which, np.cumsum([0, *(len(which) for which in self._which.values())]), strict=False))
        table = tf.constant(np.concatenate(list(self._which.values())), tf.int64)

        @plainly
        def read(name: tf.Tensor, edge: tf.Tensor) -> tf.data.Dataset:
            @plainly
            def numbered(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                found = tf.io.parse_single_example(serialized, {"index": tf.io.FixedLenFeature((), tf.int64)})
                return table[edge + found["index"]], serialized

            records_ = tf.data.TFRecordDataset(name).map(numbered)
            return records_.filter(plainly(lambda index, _: (low <= index) & (index < high)))

        return (self._names(self._shards), *_int64([edges[shard.split] for shard in self._shards])), read

    def _decode(self, index: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        data, length, stored = self._data, self.spec.max_length, self._stored_length
        found = _parsed(serialized, stored)
        more = max(length - stored, 0)
        digits = tf.pad(tf.cast(found["digits"][:length], tf.int32), [[0, more]], constant_values=NO_DIGIT)
        image, boxes = resize.view(
            tf.io.decode_png(found["image"], 3),
            tf.pad(found["boxes"][:length], [[0, more], [0, 0]]),
            digits != NO_DIGIT,
            kind=data.composition,
            height=data.height,
            width=data.width,
            gray=data.gray,
        )
        return {"image": image, "digits": digits, "boxes": boxes, "index": tf.cast(index, tf.int32)}

    @cached_property
    def _stored_length(self) -> int:
        """Positions for digits in a record."""
        return read_about(self._folder).get("longest", svhn_numbers.LONGEST)


def create_streamed(config: ConfigDict, split: str, same: DataSource) -> StreamedSource:
    """The source of one split, read from records; `same`: a source of the same examples that are computed or resident."""
    kind = StreamedPhotographs if config.data.composition in PHOTO_COMPOSITIONS else StreamedSource
    return kind(config, split, same)


def _int64(*columns: list[int] | np.ndarray) -> list[tf.Tensor]:
    return [tf.constant(column, tf.int64) for column in columns]


def _parsed(serialized: tf.Tensor, length: int) -> dict[str, tf.Tensor]:
    """A record with positions for so many digits."""
    return tf.io.parse_single_example(
        serialized,
        {
            "image": tf.io.FixedLenFeature((), tf.string),
            "digits": tf.io.FixedLenFeature((length,), tf.int64),
            "boxes": tf.io.FixedLenFeature((length, 4), tf.float32),
            "index": tf.io.FixedLenFeature((), tf.int64),
        },
    )


def _pixels(data: tf.Tensor, form: str) -> tf.Tensor:
    """u8, from one of record_location.FORMS."""
    if form == "png":
        return tf.io.decode_png(data)
    if form == "raw":
        return tf.io.decode_raw(data, tf.uint8)
    return tf.cast(tf.round(tf.io.decode_raw(data, tf.float64) * 255), tf.uint8)
