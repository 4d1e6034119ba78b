"""Reads `mnist` and `svhn_cropped` from TFDS's own builders: the same arrays as from the published files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from seqdigits.core.errors import UserError, short
from seqdigits.data import digits, record_location
from seqdigits.data.builders import tfds
from seqdigits.data.photos import svhn_archive
from seqdigits.data.photos.svhn_cropped import NAME, PARTS, file_name

MNIST_SHA256 = "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83"
"""SHA-256 of the pixels and then the labels of MNIST's 70,000 digits, one byte each, training file first."""


def mnist(folder: Path, url: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads all digits of TFDS's `mnist`, in the order of the published files, training file first.

    Args:
      folder: folder of the published files. They are needed only if TFDS does not have the set yet, and missing ones are
        then downloaded.
      url: URL of the folder that they are downloaded from.
      root: folder of TFDS data sets; see `record_location.root`.

    Returns:
      images u8 [70000, 28, 28] and labels i32 [70000].

    Raises:
      UserError: a file is damaged, or missing and cannot be downloaded; or the records of TFDS are damaged.
    """

    def fetch() -> None:
        digits.fetch(folder, url)

    builder = _builder("mnist", root, folder, fetch)
    known = digits.DIGITS["mnist"]
    both = [_read(builder, split, n) for split, n in (("train", known.pool), ("test", known.test))]
    images, labels = (np.concatenate(parts) for parts in zip(*both, strict=True))
    if hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest() != MNIST_SHA256:
        raise UserError(f"{builder.data_dir} is not MNIST, or in another order. {_rebuild_hint(builder.data_dir)}")
    return images[..., 0], labels


def svhn_cropped(folder: Path, part: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the digits of one part of TFDS's `svhn_cropped`, in the order of the published file.

    Args:
      folder: folder of the published files. All three are needed, but only if TFDS does not have the set yet; TFDS
        downloads missing ones.
      part: train, test or extra.
      root: folder of TFDS data sets; see `record_location.root`.

    Returns:
      images u8 [n, 32, 32, 3] and labels i32 [n], 0..9.

    Raises:
      UserError: a file is damaged, or missing and cannot be downloaded; or the records of TFDS are damaged.
    """

    def fetch() -> None:
        missing = [name for name in map(file_name, PARTS) if not (folder / name).exists()]
        if missing:
            print(f"downloading {', '.join(missing)} (for non-commercial use only) from {svhn_archive.URL}", flush=True)

    return _read(_builder(NAME, root, folder, fetch), part, PARTS[part].digits)


def _builder(name: str, root: str, folder: Path, fetch: Callable[[], None]) -> Any:
    """Returns the TFDS builder of a set, which is prepared from the files in `folder`, after `fetch`, if necessary."""
    place = record_location.root(root)
    with _explained(f"TFDS cannot open {place / name}", _rebuild_hint(place / name)):
        builder = tfds.builder(name, data_dir=place)
        prepared = builder.is_prepared()
    if not prepared:
        print(f"{builder.data_dir} is missing; TFDS prepares it from the files in {folder}", flush=True)
        fetch()
        manual = {"manual_dir": folder} if folder.is_dir() else {}
        config = tfds.download.DownloadConfig(try_download_gcs=False, **manual)
        fix = (
            f"Check that the published files are complete in {folder}, and that {place} is writable. To use another folder, "
            "set the environment variable TFDS_DATA_DIR=DIR or --config.data.records=DIR."
        )
        with _explained(f"TFDS cannot prepare {place / name}", fix):
            builder.download_and_prepare(download_config=config)
            if not builder.is_prepared():
                raise UserError(f"{builder.data_dir} is incomplete. {_rebuild_hint(builder.data_dir)}")
    return builder


def _read(builder: Any, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads images u8 [size, ...] and labels i32 [size] of one split, in the order in which the builder generates them.

    TFDS writes examples in the order of the MD5 of the split's name and the example's key, which is its number here.
    """
    numbers = np.array(sorted(range(size), key=lambda i: hashlib.md5(f"{split}{i}".encode()).digest()))
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    with _explained(f"TFDS cannot read {builder.data_dir}", _rebuild_hint(builder.data_dir)):
        images = np.empty((size, *builder.info.features["image"].shape), np.uint8)
        labels = np.empty(size, np.int32)
        begin = 0
        for batch in builder.as_dataset(split=split, batch_size=1000, read_config=order).as_numpy_iterator():
            at = numbers[begin : begin + len(batch["label"])]
            if "id" in batch and batch["id"].tolist() != [f"{split}_{i:06}".encode() for i in at]:
                raise UserError(f"{builder.data_dir} is in another order. {_rebuild_hint(builder.data_dir)}")
            images[at], labels[at] = batch["image"], batch["label"]
            begin += len(at)
        if begin != size:
            raise UserError(
                f"{builder.data_dir} has {begin:,} of {size:,} {split} examples. {_rebuild_hint(builder.data_dir)}"
            )
    return images, labels


@contextmanager
def _explained(failure: str, fix: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as e:  # TFDS raises a dozen types of exceptions for missing and damaged files
        raise UserError(f"{failure}: {type(e).__name__}: {short(e)}\n{fix}") from e


def _rebuild_hint(folder: Path | str) -> str:
    return f"Delete {folder} and run again to rebuild it, or read the published files: --config.data.source=device."
