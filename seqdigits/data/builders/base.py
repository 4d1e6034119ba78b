"""The base class of the TFDS builders of records: writes a set completely or not at all."""

from __future__ import annotations

import os
import shutil
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data import manifest as data_manifest
from seqdigits.data import record_location
from seqdigits.data.builders import tfds, writer
from seqdigits.data.builders.record_format import serialize
from seqdigits.data.builders.shards import (
    Records,
    ShardPlan,
    exclusive_access,
    plan_shards,
    refuse_full_disk,
    remove_progress_files,
)
from seqdigits.data.manifest import write_manifest

_SAMPLE, _RUN = 64, 8
"""Number of records that are sampled to estimate the size of a set, and number of consecutive records among them."""


class RecordsBuilder(tfds.core.dataset_builder.FileReaderBuilder):
    """Writes shards with all cores, and then the metadata of TFDS.

    It replaces TFDS's own writer, which uses one process, writes different bytes each time, and starts over after a kill.
    """

    VERSION: ClassVar = tfds.core.Version(record_location.VERSION)

    @abstractmethod
    def _sizes(self) -> dict[str, int]:
        """Returns the number of examples of each split."""

    @abstractmethod
    def _records(self, folder: str) -> Records:
        """Returns the function that yields records; `folder`: folder of data files, "" = see files.data_folder."""

    def _identity(self) -> dict[str, Any]:
        """Returns, as JSON, of data files what must be unchanged while a set is written, and to resume an unfinished one."""
        return {}

    def _metadata(self) -> dict[str, Any]:
        """Returns additional content of the manifest, as JSON; called after all records are written."""
        return {}

    def _jobs(self, shards: int) -> list[list[ShardPlan]]:
        """Returns lists of shards that one process writes in sequence; by default one shard each."""
        return [[plan] for plan in plan_shards(self.name, self._sizes(), shards)]

    def download_and_prepare(
        self,
        *,
        download_dir: Any = None,
        download_config: tfds.download.DownloadConfig | None = None,
        file_format: Any = None,
        **_: Any,
    ) -> None:
        """Prepares the set; called by TFDS.

        `DownloadConfig(num_shards=N, manual_dir=FOLDER)` is respected, with FOLDER as `data.folder`.
        """
        config = download_config or tfds.download.DownloadConfig()
        if file_format not in (None, "tfrecord", tfds.core.FileFormat.TFRECORD):
            raise UserError(f"file_format = {file_format} is not supported by {self.name}: allowed is tfrecord.")
        folder = self._fetch(download_dir, config)
        if config.download_mode.overwrite_dataset and self.data_path.exists():
            shutil.rmtree(self.data_path)
        self.prepare(folder, shards=config.num_shards or 0, workers=writer.cores(), stop=Stop())

    def _fetch(self, download_dir: Any, config: tfds.download.DownloadConfig) -> str:
        """Returns the folder of data files, after downloading missing ones."""
        del download_dir
        return os.fspath(config.manual_dir or "")

    def prepare(self, folder: str, *, shards: int, workers: int, stop: Stop) -> bool:
        """Writes all records and the metadata of TFDS; resumes an unfinished earlier call.

        Args:
          folder: folder of data files; "" = see files.data_folder.
          shards: number of shards of the largest split, the others in proportion; 0 = 2,500 examples per shard.
          workers: number of processes.
          stop: ends it early if set.

        Returns:
          False if the set existed already.

        Raises:
          UserError: the disk is too small, data files are missing, or a folder cannot be used.
          Stopped: `stop` was set.
        """
        complete = Path(self.data_dir)
        if complete.exists():
            return False
        with exclusive_access(complete.parent):
            if not complete.exists():  # another process may have just written it
                self._write(complete, folder, shards, workers, stop)
        self.info.read_from_directory(complete)
        return True

    def _write(self, complete: Path, folder: str, shards: int, workers: int, stop: Stop) -> None:
        """Writes the set into a temporary folder, which is renamed to `complete` at the end."""
        partial = complete.with_name(f"incomplete-{complete.name}")
        make, sizes, jobs = self._records(folder), self._sizes(), self._jobs(shards)
        refuse_full_disk(partial, self._bytes(make, sizes))
        names = [plan.name for job in jobs for plan in job]
        workers = min(workers, len(jobs))
        of_files = self._identity()
        identity = {"version": complete.name, "shards": names, **of_files}
        written = writer.write(partial, jobs, make, identity, workers, stop)
        if self._identity() != of_files:
            shutil.rmtree(partial)
            raise UserError(
                f"data files changed while records of them were written to {partial}. Rerun the same command."
            )
        splits = []
        for split in sizes:
            of_split = data_manifest.shards_of_split(written, split)
            lengths = [shard.examples for shard in of_split]
            splits.append(tfds.core.SplitInfo(split, lengths, sum(shard.bytes for shard in of_split)))
        self.info.set_splits(tfds.core.splits.SplitDict(splits))
        self.info.write_to_directory(partial)
        write_manifest(partial, written, {"name": self.info.full_name, **self._metadata()})
        os.replace(partial, complete)
        remove_progress_files(complete)

    def _bytes(self, make: Records, sizes: dict[str, int]) -> int:
        """Estimates the size of all records, in bytes, from evenly spaced samples."""
        largest = max(sizes, key=lambda split: sizes[split])
        starts = np.linspace(0, max(sizes[largest] - _RUN, 0), _SAMPLE // _RUN).astype(int).tolist()
        sample = [len(record) for start in starts for record in make(largest, start, min(start + _RUN, sizes[largest]))]
        return int((np.mean(sample) + 16) * 1.03 * sum(sizes.values()))  # a record has a frame of 16 bytes

    def _download_and_prepare(self, *_args: Any, **_kwargs: Any) -> None:  # abstract in TFDS
        raise AssertionError("download_and_prepare is overridden")


def features(image: tfds.features.FeatureConnector, length: int) -> tfds.features.FeaturesDict:
    """Returns the features of a record.

    Args:
      image: the feature of the pixels.
      length: L, number of digit positions.
    """
    digit = f"0..9, and {NO_DIGIT} after the last one"
    box = "of each digit: x center, y center, width, height, in pixels; zeros after the last digit"
    return tfds.features.FeaturesDict(
        {
            "image": image,
            "digits": tfds.features.Tensor(shape=(length,), dtype=np.int32, doc=digit),
            "boxes": tfds.features.Tensor(shape=(length, 4), dtype=np.float32, doc=box),
            "length": tfds.features.Scalar(dtype=np.int32, doc="number of digits"),
            "index": tfds.features.Scalar(dtype=np.int64, doc="index of the example in its split"),
        }
    )


def photograph(png: bytes, digits: np.ndarray, boxes: np.ndarray | None, length: int, index: int) -> bytes:
    """Returns the serialized record of a photograph.

    Args:
      png: the photograph as PNG, of any size.
      digits: i32 [n].
      boxes: f32 [n, 4] cxcywh in its pixels; None = unknown, stored as zeros.
      length: L, number of digit positions, to which both are padded.
      index: index of the example.
    """
    n = len(digits)
    all_digits, all_boxes = np.full(length, NO_DIGIT, np.int32), np.zeros((length, 4), np.float32)
    all_digits[:n] = digits
    if boxes is not None:
        all_boxes[:n] = boxes
    return serialize(png, all_digits, all_boxes, n, index)


def pixels(form: str, shape: tuple[int | None, int | None, int]) -> tfds.features.FeatureConnector:
    """Returns the TFDS feature of pixels in one of record_location.FORMS; the shape is H, W, C."""
    if form == "png":
        return tfds.features.Image(shape=shape, dtype=np.uint8, encoding_format="png")
    dtype = np.uint8 if form == "raw" else np.float64
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")


def chunks(start: int, stop: int, size: int) -> Iterator[np.ndarray]:
    """Yields the indices start..stop-1 in arrays i32 of up to `size`.

    >>> [c.tolist() for c in chunks(3, 8, 2)]
    [[3, 4], [5, 6], [7]]
    """
    for begin in range(start, stop, size):
        yield np.arange(begin, min(begin + size, stop), dtype=np.int32)
