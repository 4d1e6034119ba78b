"""What the TFDS builders of records have in common: how they come to disk, and that they are whole when they are there."""

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
from seqdigits.data.manifest import write_manifest

_SAMPLE, _RUN = 64, 8
"""So many records are made beforehand, some neighbors at a time, to say how much disk all of them will need."""


class RecordsBuilder(tfds.core.dataset_builder.FileReaderBuilder):
    """Writes shards with all cores, and describes them to TFDS afterwards.

    In place of TFDS's own writer, which writes in one process, other bytes each time, and begins anew after a kill.
    """

    VERSION: ClassVar = tfds.core.Version(record_location.VERSION)

    @abstractmethod
    def _sizes(self) -> dict[str, int]:
        """Examples of each split."""

    @abstractmethod
    def _records(self, folder: str) -> writer.Records:
        """Gives the records; `folder`: where data files lie, "" = see files.data_folder."""

    def _identity(self) -> dict[str, Any]:
        """What an unfinished set must have been begun with to be gone on with, beside its name and shards; as JSON."""
        return {}

    def _about(self) -> dict[str, Any]:
        """What else the manifest says of the set, as JSON; asked for when all records are written."""
        return {}

    def _jobs(self, shards: int) -> list[list[writer.Piece]]:
        """What one process writes at a stretch: a shard."""
        return [[piece] for piece in writer.pieces(self.name, self._sizes(), shards)]

    def download_and_prepare(
        self,
        *,
        download_dir: Any = None,
        download_config: tfds.download.DownloadConfig | None = None,
        file_format: Any = None,
        **_: Any,
    ) -> None:
        """TFDS's own entry; `DownloadConfig(num_shards=N, manual_dir=FOLDER)` is heeded, the folder as `data.folder`."""
        config = download_config or tfds.download.DownloadConfig()
        if file_format not in (None, "tfrecord", tfds.core.FileFormat.TFRECORD):
            raise UserError(f"file_format = {file_format}: {self.name} is written as tfrecord alone.")
        folder = self._fetch(download_dir, config)
        if config.download_mode.overwrite_dataset and self.data_path.exists():
            shutil.rmtree(self.data_path)
        self.prepare(folder, shards=config.num_shards or 0, workers=writer.cores(), stop=Stop())

    def _fetch(self, download_dir: Any, config: tfds.download.DownloadConfig) -> str:
        """The folder where data files lie, after what is missing was downloaded."""
        del download_dir
        return os.fspath(config.manual_dir or "")

    def prepare(self, folder: str, *, shards: int, workers: int, stop: Stop) -> bool:
        """Writes all records and what TFDS wants beside them; what an earlier call left unfinished is gone on with.

        Args:
          folder: where data files lie; "" = see files.data_folder.
          shards: of the largest split, the others in proportion; 0 = so that each has 2,500 examples.
          workers: processes.
          stop: ends it early.

        Returns:
          False if all was there already.

        Raises:
          UserError: too little disk, no data files, or a folder that cannot be used.
          Stopped: `stop` was set.
        """
        whole = Path(self.data_dir)
        if whole.exists():
            return False
        with writer.alone(whole.parent):
            if not whole.exists():  # another process may have written it meanwhile
                self._write(whole, folder, shards, workers, stop)
        self.info.read_from_directory(whole)
        return True

    def _write(self, whole: Path, folder: str, shards: int, workers: int, stop: Stop) -> None:
        """Writes the set into a folder of its own, which gets its name when it is whole."""
        partial = whole.with_name(f"incomplete-{whole.name}")
        make, sizes, jobs = self._records(folder), self._sizes(), self._jobs(shards)
        writer.refuse_full_disk(partial, self._bytes(make, sizes))
        names = [piece.name for job in jobs for piece in job]
        workers = min(workers, len(jobs))
        identity = {"version": whole.name, "shards": names, **self._identity()}
        written = writer.write(partial, jobs, make, identity, workers, stop)
        splits = []
        for split in sizes:
            of_split = data_manifest.shards_of_split(written, split)
            lengths = [shard.examples for shard in of_split]
            splits.append(tfds.core.SplitInfo(split, lengths, sum(shard.bytes for shard in of_split)))
        self.info.set_splits(tfds.core.splits.SplitDict(splits))
        self.info.write_to_directory(partial)
        write_manifest(partial, written, {"name": self.info.full_name, **self._about()})
        os.replace(partial, whole)
        writer.clear_notes(whole)

    def _bytes(self, make: writer.Records, sizes: dict[str, int]) -> int:
        """About how much all records take, by some of them, spread evenly."""
        largest = max(sizes, key=lambda split: sizes[split])
        starts = np.linspace(0, max(sizes[largest] - _RUN, 0), _SAMPLE // _RUN).astype(int).tolist()
        sample = [len(record) for start in starts for record in make(largest, start, min(start + _RUN, sizes[largest]))]
        return int((np.mean(sample) + 16) * 1.03 * sum(sizes.values()))  # a record has a frame of 16 bytes

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:  # TFDS wants it to be there
        raise AssertionError("download_and_prepare does it all")


def features(image: tfds.features.FeatureConnector, length: int) -> tfds.features.FeaturesDict:
    """What a record holds.

    Args:
      image: how the pixels lie there.
      length: L, positions for digits.
    """
    digit = f"0..9, and {NO_DIGIT} after the last one"
    box = "of each digit: x center, y center, width, height, in pixels; zeros where there is none"
    return tfds.features.FeaturesDict(
        {
            "image": image,
            "digits": tfds.features.Tensor(shape=(length,), dtype=np.int32, doc=digit),
            "boxes": tfds.features.Tensor(shape=(length, 4), dtype=np.float32, doc=box),
            "length": tfds.features.Scalar(dtype=np.int32, doc="how many digits there are"),
            "index": tfds.features.Scalar(dtype=np.int64, doc="which example of the split it is"),
        }
    )


def photograph(png: bytes, digits: np.ndarray, boxes: np.ndarray | None, length: int, index: int) -> bytes:
    """A record of a photograph.

    Args:
      png: as it is, of any size.
      digits: i32 [n].
      boxes: f32 [n, 4] cxcywh in its pixels; None = not known, zeros.
      length: L, that both are filled up to.
      index: which example it is.
    """
    n = len(digits)
    all_digits, all_boxes = np.full(length, NO_DIGIT, np.int32), np.zeros((length, 4), np.float32)
    all_digits[:n] = digits
    if boxes is not None:
        all_boxes[:n] = boxes
    return writer.serialize(png, all_digits, all_boxes, n, index)


def pixels(form: str, shape: tuple[int | None, int | None, int]) -> tfds.features.FeatureConnector:
    """How pixels of record_location.FORMS are told to TFDS; shape H, W, C."""
    if form == "png":
        return tfds.features.Image(shape=shape, dtype=np.uint8, encoding_format="png")
    dtype = np.uint8 if form == "raw" else np.float64
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")


def chunks(start: int, stop: int, size: int) -> Iterator[np.ndarray]:
    """i32 indices start..stop-1, `size` at a time.

    >>> [c.tolist() for c in chunks(3, 8, 2)]
    [[3, 4], [5, 6], [7]]
    """
    for begin in range(start, stop, size):
        yield np.arange(begin, min(begin + size, stop), dtype=np.int32)
