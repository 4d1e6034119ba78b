"""Sources that read records from disk with tf.data, for sets that do not fit into memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from typing import Any

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
from seqdigits.data.bucket import fetch
from seqdigits.data.builders import svhn_numbers, tf
from seqdigits.data.manifest import (
    PREPARE_COMMAND,
    Shard,
    open_records,
    read_manifest,
    rewrite_hint,
    shards_of,
    shards_of_split,
)
from seqdigits.data.photos import svhn
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.photos.source import cut_out
from seqdigits.data.source import DataSource
from seqdigits.data.tfdata import resize
from seqdigits.parallel.processes import ProcessSlice, process_slice

_INTERLEAVED_FILES = 16
_SHUFFLE_BUFFER = 10_000
"""Maximum number of examples in the shuffle buffer, subject to:"""
_SHUFFLE_BUFFER_BYTES = 40_000_000
"""Maximum size of the shuffle buffer. The allocator would scatter a larger one over gigabytes."""
_DECODER_THREADS = 2
"""They decode 5,000 canvases per second, more than a model consumes on the same cores."""
_PREFETCHED_BATCHES = 2

no_autograph = tf.autograph.experimental.do_not_convert
"""Marks functions that are graphs already. TensorFlow would otherwise write a translation of each to a file."""


class StreamedSource(DataSource):
    """The records of one split in a shuffled order that is a function of (seed, epoch, number of skipped examples).

    In each epoch, files are shuffled, 16 of them are interleaved, and each example is sampled from a shuffle buffer of
    10,000 examples (fewer if they are large). The order depends on the number of files and on the form of the records,
    but not on the number of processes: each process reads the records of all, and decodes only its own rows of each batch.
    """

    def __init__(self, config: ConfigDict, split: str, same: DataSource):
        """Creates the source of one split.

        Args:
          config: a complete config, whose records `prepare` has written.
          split: train, validation or test.
          same: a source of the same examples.
        """
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
        self._folder, self._url = record_location.path(config), record_location.url(config)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """No arrays; the first access verifies the records.

        Raises:
          UserError: the records are incomplete or damaged; see manifest.open_records.
        """
        assert self._shards, "a split has at least one file"
        return {}

    @cached_property
    def _shards(self) -> list[Shard]:
        """The files of the split's records."""
        shards = self._verified_shards((self._split,))
        self._check_count(sum(shard.examples for shard in shards))
        return shards

    @property
    def stored_bytes(self) -> int:
        """The size of the files of the split's records."""
        return sum(shard.bytes for shard in self._shards)

    def _verified_shards(self, splits: Collection[str]) -> list[Shard]:
        """Returns the files of some splits on disk, after verifying them; they are copied if they are in a bucket."""
        shards = fetch(self._url, self._folder, splits) if self._url else open_records(self._folder)
        return [shard for split in splits for shard in shards_of_split(shards, split)]

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        if self._url:
            fetch(self._url, self._folder, ())
        return read_manifest(self._folder)

    def _check_count(self, count: int) -> None:
        if count != self.count():
            hint = f"Write them again: {PREPARE_COMMAND}." if self._url else rewrite_hint(self._folder)
            raise UserError(
                f"{self._url or self._folder} has {count:,} examples of {self._split}, but the config has "
                f"{self.count():,}. {hint}"
            )

    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """See DataSource.make."""
        del arrays  # examples come with the batch
        image, digits, boxes = (host_batch[name] for name in ("image", "digits", "boxes"))
        side = self._data.cutout
        if side:
            image, boxes = cut_out(image, digits, boxes, side, host_batch["position"], key if train else None)
        return Batch(image=image, digits=digits, boxes=boxes, index=host_batch["index"])

    def batches(self, start: int, batch_size: int) -> Iterator[HostBatch]:
        """See DataSource.batches; the order is described with the class."""
        local = process_slice(batch_size)
        epoch, skip = divmod(start * batch_size, self.count())
        stream = self._iterate(self._batched(self._endless(epoch, skip), local, batch_size))
        for step, values in enumerate(stream, start):
            position = np.arange(step * batch_size + local.low, step * batch_size + local.high)
            yield self._host_batch(local, values, position)

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[HostBatch]:
        """See DataSource.all; the order is that of the records."""
        local, count = process_slice(batch_size), self.count(limit)
        files, open_file = self._files(count)
        in_order = tf.data.Dataset.from_tensor_slices(files).flat_map(open_file)
        in_order = in_order.apply(tf.data.experimental.assert_cardinality(count))
        stream = self._iterate(self._batched(in_order, local, batch_size))
        for start in range(0, count, batch_size):
            if start + local.low < count:
                values = next(stream)
                yield self._host_batch(local, values, values["index"])
            else:
                yield self._empty(local.size)
        for _ in stream:  # a process that has no row of the last batch checks here that no record was missing
            raise AssertionError("the number of records was checked")

    def _batched(self, examples: tf.data.Dataset, local: ProcessSlice, batch_size: int) -> tf.data.Dataset:
        """Returns the decoded rows of this process in each batch of examples, which start with a new batch."""
        rows = local.high - local.low
        if rows < batch_size:  # before decoding, which costs far more than reading
            examples = examples.enumerate().filter(
                no_autograph(lambda row, _: (row % batch_size >= local.low) & (row % batch_size < local.high))
            )
            examples = examples.map(no_autograph(lambda _, example: example))
        return self._decoded(examples).batch(rows).prefetch(_PREFETCHED_BATCHES)

    def _endless(self, epoch: int, skip: int) -> tf.data.Dataset:
        """Returns all examples of the split, reshuffled in every epoch.

        The stream starts in `epoch`, after `skip` of its examples.
        """
        count = self.count()
        files, open_file = self._files(count)
        per_example = sum(shard.bytes for shard in self._shards) // sum(shard.examples for shard in self._shards) + 1
        buffer = max(1, min(_SHUFFLE_BUFFER, count, _SHUFFLE_BUFFER_BYTES // per_example))
        seed = self._order_seed

        @no_autograph
        def one_epoch(e: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(len(files[0])), seed=[seed, e])
            shuffled = tf.data.Dataset.from_tensor_slices(tuple(tf.gather(x, order) for x in files))
            examples = shuffled.interleave(
                open_file, cycle_length=_INTERLEAVED_FILES, num_parallel_calls=1, deterministic=True
            )
            examples = examples.apply(tf.data.experimental.assert_cardinality(count))
            mixed = tf.random.stateless_uniform([], [seed, e], maxval=2**62, dtype=tf.int64)
            examples = examples.shuffle(buffer, seed=mixed, reshuffle_each_iteration=False)
            return examples.skip(tf.where(e == epoch, tf.constant(skip, tf.int64), 0))

        return tf.data.Dataset.range(epoch, np.iinfo(np.int64).max).flat_map(one_epoch)

    def _files(self, count: int) -> tuple[tuple[tf.Tensor, ...], Callable[..., tf.data.Dataset]]:
        """Returns the files that hold the first `count` examples, and the function that opens one.

        The files are columns of tensors with one row per file. The function maps a row to a data set of pairs: index and
        serialized record.
        """
        edges = np.cumsum([0, *(shard.examples for shard in self._shards)]).clip(max=count)
        present = np.flatnonzero(edges[:-1] < edges[1:])

        @no_autograph
        def open_file(name: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tf.data.Dataset:
            serialized = tf.data.TFRecordDataset(name).take(stop - start)
            return tf.data.Dataset.zip((tf.data.Dataset.range(start, stop), serialized))

        return (self._names(self._shards[i] for i in present), *_int64(edges[present], edges[present + 1])), open_file

    def _names(self, shards: Iterable[Shard]) -> tf.Tensor:
        return tf.constant([os.fspath(self._folder / shard.name) for shard in shards], tf.string)

    def _decoded(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        return examples.map(no_autograph(self._decode), num_parallel_calls=_DECODER_THREADS, deterministic=True)

    def _decode(self, index: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = _parsed(serialized, self.spec.max_length)
        image = tf.reshape(_pixels(record["image"], self._data.records_form), self.spec.payload["image"].shape)
        digits = tf.cast(record["digits"], tf.int32)
        with tf.control_dependencies([tf.debugging.assert_equal(record["index"], index, "records are out of order")]):
            index = tf.identity(index)
        return {"image": image, "digits": digits, "boxes": record["boxes"], "index": tf.cast(index, tf.int32)}

    def _iterate(self, stream: tf.data.Dataset) -> Iterator[dict[str, np.ndarray]]:
        options = tf.data.Options()
        options.autotune.enabled = False  # it would take an unbounded share of memory and threads
        options.deterministic = True
        options.threading.private_threadpool_size = _DECODER_THREADS
        read_error = tf.errors.OpError  # resolved here, because the module may be gone when the interpreter exits
        try:
            yield from stream.with_options(options).as_numpy_iterator()
        except read_error as e:
            raise self._damage_error(e.message) from e

    def _host_batch(self, local: ProcessSlice, values: dict[str, np.ndarray], position: np.ndarray) -> HostBatch:
        """Returns a batch padded with copies of its first row, with index -1."""
        missing = local.size - len(values["index"])
        host_batch = local.host_batch(values["index"], position)
        for name in self.spec.payload:
            value = values[name]
            host_batch[name] = np.concatenate([value, np.repeat(value[:1], missing, 0)]) if missing else value
        return host_batch

    def _empty(self, rows: int) -> HostBatch:
        host_batch = {name: np.zeros(one.shape, one.dtype) for name, one in self.spec.host_batch(rows).items()}
        return {**host_batch, "index": np.full(rows, -1, np.int32)}

    def _damage_error(self, reason: str) -> UserError:
        """Returns the error that names the damaged file."""
        hint = rewrite_hint(self._folder)
        if self._url:
            hint = f"Delete it and run the same command again: it is then copied again from {self._url}."
        for shard in self._shards:
            path = self._folder / shard.name
            try:
                if sha256(path) != shard.sha256:
                    return UserError(f"{path} is damaged: its SHA-256 differs. {hint}")
            except OSError as e:
                return UserError(f"{path} cannot be read: {e.strerror}. {hint}")
        return UserError(f"{self._folder}: reading failed, although all files are intact: {reason[:300]}")


class StreamedPhotographs(StreamedSource):
    """Photographs stored in their original size and resized when they are read, byte for byte as ResidentSource does.

    A split of house numbers is not a contiguous range of records. All records of its parts are therefore read, but only
    those of the split are decoded.
    """

    @cached_property
    def _shards(self) -> list[Shard]:
        shards = self._verified_shards(self._example_indices)
        self._check_count(sum(int((indices >= 0).sum()) for indices in self._example_indices.values()))
        return shards

    @cached_property
    def _example_indices(self) -> dict[str, np.ndarray]:
        """The example index i32 [n] of each record, for each split on disk that is part of this split; -1 = not used."""
        data = self._data
        if data.photographs == "folder":
            count = sum(shard.examples for shard in shards_of_split(shards_of(self._manifest), self._split))
            return {self._split: np.arange(count, dtype=np.int32)}
        digits = self._manifest["lengths"]
        lengths = {name: np.array([int(n) for n in text], np.int32) for name, text in digits.items()}
        return svhn.examples(data.photographs, tuple(data.parts), self._split, data.max_length, lengths)

    def _files(self, count: int) -> tuple[tuple[tf.Tensor, ...], Callable[..., tf.data.Dataset]]:
        sizes = [len(indices) for indices in self._example_indices.values()]
        edges = dict(zip(self._example_indices, np.cumsum([0, *sizes]), strict=False))
        table = tf.constant(np.concatenate(list(self._example_indices.values())), tf.int64)

        @no_autograph
        def open_file(name: tf.Tensor, edge: tf.Tensor) -> tf.data.Dataset:
            @no_autograph
            def with_index(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                record = tf.io.parse_single_example(serialized, {"index": tf.io.FixedLenFeature((), tf.int64)})
                return table[edge + record["index"]], serialized

            records = tf.data.TFRecordDataset(name).map(with_index)
            return records.filter(no_autograph(lambda index, _: (index >= 0) & (index < count)))

        return (self._names(self._shards), *_int64([edges[shard.split] for shard in self._shards])), open_file

    def _decode(self, index: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        data, length, stored = self._data, self.spec.max_length, self._stored_length
        record = _parsed(serialized, stored)
        padding = max(length - stored, 0)
        digits = tf.pad(tf.cast(record["digits"][:length], tf.int32), [[0, padding]], constant_values=NO_DIGIT)
        image, boxes = resize.crop_photo(
            tf.io.decode_png(record["image"], 3),
            tf.pad(record["boxes"][:length], [[0, padding], [0, 0]]),
            digits != NO_DIGIT,
            kind=data.composition,
            height=data.height,
            width=data.width,
            gray=data.gray,
        )
        return {"image": image, "digits": digits, "boxes": boxes, "index": tf.cast(index, tf.int32)}

    @cached_property
    def _stored_length(self) -> int:
        """Number of digit positions in a record."""
        return self._manifest.get("longest", svhn_numbers.MAX_DIGITS)


def create_streamed(config: ConfigDict, split: str, same: DataSource) -> StreamedSource:
    """Creates the source of one split that is read from records.

    Args:
      config: a complete config.
      split: train, validation or test.
      same: a source that computes the same examples, or has them in memory.
    """
    kind = StreamedPhotographs if config.data.composition in PHOTO_COMPOSITIONS else StreamedSource
    return kind(config, split, same)


def _int64(*columns: list[int] | np.ndarray) -> list[tf.Tensor]:
    return [tf.constant(column, tf.int64) for column in columns]


def _parsed(serialized: tf.Tensor, length: int) -> dict[str, tf.Tensor]:
    """Parses a record with `length` digit positions."""
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
    """Decodes pixels u8 from one of record_location.FORMS."""
    if form == "png":
        return tf.io.decode_png(data)
    if form == "raw":
        return tf.io.decode_raw(data, tf.uint8)
    return tf.cast(tf.round(tf.io.decode_raw(data, tf.float64) * 255), tf.uint8)
