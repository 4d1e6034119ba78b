"""Single digits of 28x28 pixels and their splits.

No digit is in two splits, and every example is composed of digits of one split only. Examples of different splits
therefore never share a digit.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdigits.core.errors import UserError
from seqdigits.core.files import data_folder

SIZE = 28


@dataclass(frozen=True)
class DigitSet:
    """The sizes and the splits of a set of digits, known without opening a file.

    Attributes:
      pool: number of digits for training and validation.
      test: number of test digits. They are stored after the pool.
      validation: number of pool digits held out for validation by default.
      validation_first: whether the held out digits are by default the first of the pool, or the last.
    """

    pool: int
    test: int
    validation: int
    validation_first: bool

    def slices(self, validation: int, place: str = "default") -> dict[str, slice]:
        """Returns the slice of pool + test of each split.

        Args:
          validation: number of pool digits held out for validation; 0 = the default of the set.
          place: which digits of the pool are held out, the "first" or the "last"; "default" = those of the set.
        """
        held = validation or self.validation
        everything = self.pool + self.test
        if {"default": self.validation_first, "first": True, "last": False}[place]:
            return {
                "train": slice(held, self.pool),
                "validation": slice(0, held),
                "test": slice(self.pool, everything),
            }
        return {
            "train": slice(0, self.pool - held),
            "validation": slice(self.pool - held, self.pool),
            "test": slice(self.pool, everything),
        }


DIGITS = {
    # 1,797 digits of 43 people (Alpaydin and Kaynak 1998), bundled with scikit-learn. Consecutive digits are by one
    # writer, so that splits of 70 / 15 / 15% in file order have mostly different writers.
    "uci": DigitSet(pool=1527, test=270, validation=270, validation_first=False),
    # LeCun, Cortes, Burges 1998. The first 5,000 of the training file are validation.
    "mnist": DigitSet(pool=60_000, test=10_000, validation=5_000, validation_first=True),
}

MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def num_digits(name: str, split: str, validation: int) -> int:
    """Returns the number of digits in a split, without opening a file.

    >>> [num_digits("mnist", s, 0) for s in ("train", "test")], num_digits("uci", "train", 0)
    ([55000, 10000], 1257)
    """
    part = DIGITS[name].slices(validation)[split]
    return part.stop - part.start


def load(
    name: str,
    split: str,
    *,
    validation: int,
    place: str = "default",
    distinct: int = 0,
    folder: str,
    url: str,
    read_mnist: Callable[[Path, str], tuple[np.ndarray, np.ndarray]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Loads the digits of one split.

    Args:
      name: a key of DIGITS.
      split: one of SPLITS.
      validation: number of digits held out for validation; 0 = the default of the set.
      place: which digits of the pool these are, see DigitSet.slices.
      distinct: number of digits to keep, a multiple of 10: the first of each class, equally many; 0 = all.
      folder: folder of data files, with MNIST's files in its subfolder `mnist`; "" = see `data_folder`.
      url: URL of the folder that missing MNIST files are downloaded from.
      read_mnist: reads all of MNIST from a folder and url, training file first, in place of `mnist_files`; for example
        from TFDS.

    Returns:
      images u8 [N, 28, 28], 0 = background, and labels i32 [N], 0..9.

    Raises:
      UserError: a file is damaged, or missing and cannot be downloaded; or a class has too few digits for `distinct`.
    """
    if name == "uci":
        images, labels = _uci()
    else:
        assert name == "mnist", "DIGITS has no other set"
        images, labels = (read_mnist or mnist_files)(data_folder(folder) / "mnist", url)
    part = DIGITS[name].slices(validation, place)[split]
    images, labels = images[part], labels[part]
    if distinct:
        kept = _balanced(labels, distinct)
        images, labels = images[kept], labels[kept]
    return images, labels


def _balanced(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the places of the first count / 10 digits of each class, in increasing order."""
    fewest = int(np.bincount(labels, minlength=10).min())
    if count > 10 * fewest:
        raise UserError(
            f"data.distinct_digits = {count}: the rarest class has {fewest} training digits. Set it to at most {10 * fewest}, "
            "or to 0 for all digits."
        )
    return np.sort(np.concatenate([np.flatnonzero(labels == digit)[: count // 10] for digit in range(10)]))


def _uci() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # takes a second; not needed for MNIST

    digits = load_digits()
    return enlarge(digits.images.astype(np.int64)), digits.target.astype(np.int32)


def enlarge(small: np.ndarray) -> np.ndarray:
    """Enlarges digits i64 [N, 8, 8] with values 0..16 to u8 [N, 28, 28].

    The digit is resized bilinearly to 20x20, the size of MNIST's digits, and centered. Integer arithmetic makes the
    pixels bit-exact on every machine.
    """
    # The center of output pixel i is at (i + 0.5) * 8/20 - 0.5 = (4i - 3) / 10 source pixels: weights in tenths.
    at = 4 * np.arange(20) - 3
    low, tenths = at // 10, at % 10
    first, second = np.clip(low, 0, 7), np.clip(low + 1, 0, 7)
    rows = small[:, first, :] * (10 - tenths)[:, None] + small[:, second, :] * tenths[:, None]
    both = rows[:, :, first] * (10 - tenths) + rows[:, :, second] * tenths
    pixels = (both * 255 + 800) // 1600  # the maximum is 16 * 10 * 10; + half, to round
    return np.pad(pixels, ((0, 0), (4, 4), (4, 4))).astype(np.uint8)


@functools.cache
def mnist_files(folder: Path, url: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads all of MNIST from its four files.

    Returns:
      images u8 [70000, 28, 28] and labels i32 [70000], training file first.

    Raises:
      UserError: a file is damaged, or missing and cannot be downloaded.
    """
    parts = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        for part in ("train", "t10k"):
            name = f"{part}-{kind}-ubyte.gz"
            data = gzip.decompress(_fetch(folder, name, url))
            parts.append(np.frombuffer(data, np.uint8, offset=header))
    images = np.concatenate(parts[:2]).reshape(-1, SIZE, SIZE)
    return images, np.concatenate(parts[2:]).astype(np.int32)


def fetch(folder: Path, url: str) -> None:
    """Downloads the missing files of MNIST to `folder`, and checks all four.

    Raises:
      UserError: a file is damaged, or missing and cannot be downloaded from `url`.
    """
    for name in MNIST_FILES:
        _fetch(folder, name, url)


def _fetch(folder: Path, name: str, url: str) -> bytes:
    """Returns the bytes of one MNIST file, downloaded if missing; its SHA-256 is checked in either case."""
    path = folder / name
    if not path.exists():
        _download(path, f"{url.rstrip('/')}/{name}", MNIST_FILES[name])
    try:
        data = path.read_bytes()
    except OSError as e:
        raise UserError(
            f"{path} cannot be read: {e.strerror}. Make it readable, or set another folder: SEQDIGITS_DATA=DIR, or data.folder of a config."
        ) from e
    digest = hashlib.sha256(data).hexdigest()
    if digest != MNIST_FILES[name]:
        raise UserError(
            f"{path} is damaged or not MNIST's: {len(data):,} bytes with SHA-256 {digest[:12]}..., expected "
            f"{MNIST_FILES[name][:12]}.... Delete it and run again to download it, or replace it with the original file."
        )
    return data


def _download(path: Path, url: str, sha256: str) -> None:
    import pooch

    print(f"{path} is missing; downloading {url}", flush=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=path.name, path=path.parent, progressbar=True)
    except (OSError, ValueError) as e:
        raise UserError(
            f"{path} is missing and could not be downloaded from {url}: {str(e)[:300]}\n"
            f"Put MNIST's four files ({', '.join(MNIST_FILES)}) into {path.parent}. To use another folder DIR, with the "
            "files in DIR/mnist, set the environment variable SEQDIGITS_DATA=DIR. A command that takes a config also has "
            "--config.data.folder=DIR; --config.data.url=URL, to download from a mirror; and --config.data.digits=uci, to "
            "do without MNIST."
        ) from e
