"""Single digits of house numbers, 32x32 pixels: "format 2: cropped digits" of SVHN (Netzer et al. 2011).

Each image is a square around a digit, cropped from its photograph and resized. Neighboring digits may be visible at its
sides. The published files are PART_32x32.mat, MATLAB 5. They are for non-commercial use only, so this package does not
download them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seqdigits.core import files as core_files
from seqdigits.core.errors import UserError
from seqdigits.core.files import data_folder
from seqdigits.core.progress import progress
from seqdigits.data.photos import svhn_archive
from seqdigits.data.photos.svhn import held_out

NAME = "svhn_cropped"
"""Name of the set in data.photographs, as a subfolder of the data folder, and in TFDS."""
SIZE = 32


@dataclass(frozen=True)
class Part:
    """One of the published files.

    Attributes:
      digits: number of digits.
      validation: number of digits held out for validation, evenly spaced.
      bytes: size of the file.
      sha256: SHA-256 of the file, in hexadecimal.
    """

    digits: int
    validation: int
    bytes: int
    sha256: str


PARTS = {
    "train": Part(73_257, 4_000, 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
    "test": Part(26_032, 0, 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    "extra": Part(531_131, 2_000, 1_329_278_602, "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3"),
}


def file_name(part: str) -> str:
    """Returns the name of a published file."""
    return f"{part}_32x32.mat"


def count(parts: tuple[str, ...], split: str) -> int:
    """Returns the number of digits in a split, without opening a file.

    Args:
      parts: the parts to train and validate on: "train", "extra" or both.
      split: "train": `parts` without the held out digits, "validation": the held out digits, "test": the part test.

    >>> [count(("train",), s) for s in ("train", "validation", "test")]
    [69257, 4000, 26032]
    >>> [count(("train", "extra"), s) for s in ("train", "validation", "test")]
    [598388, 6000, 26032]
    """
    return sum(int(_chosen(part, split).sum()) for part in _parts(parts, split))


def load(
    parts: tuple[str, ...],
    split: str,
    *,
    height: int,
    width: int,
    gray: bool,
    folder: str,
    read: Callable[[Path, str], tuple[np.ndarray, np.ndarray]] | None = None,
) -> dict[str, np.ndarray]:
    """Loads one split, in order of part and place in the file.

    Args:
      parts: see `count`.
      split: see `count`.
      height: height of the images, in pixels. Images are resized if height x width is not 32x32.
      width: width of the images, in pixels.
      gray: whether to return one channel instead of three.
      folder: folder of data files, with these files in its subfolder `svhn_cropped`; "" = see `data_folder`.
      read: reads a part from a folder in place of `published_files`; for example from TFDS.

    Returns:
      images: u8 [N, height, width, 1 or 3], 0..255.
      digits: i32 [N, 1], 0..9.
      boxes: f32 [N, 1, 4], cxcywh in pixels: the complete image, because the box of the digit in it is not published.

    Raises:
      UserError: a file is missing or damaged.
    """
    total = count(parts, split)
    images = np.empty((total, height, width, 1 if gray else 3), np.uint8)  # gigabytes, so filled in place
    digits = np.empty((total, 1), np.int32)
    begin = 0
    for part in _parts(parts, split):
        place = data_folder(folder) / NAME
        pixels, labels = (read or published_files)(place, part)
        chosen = np.flatnonzero(_chosen(part, split))
        digits[begin : begin + len(chosen), 0] = labels[chosen]
        for row, at in enumerate(progress(iter(chosen), len(chosen), "digits", place / file_name(part)), begin):
            digit = Image.fromarray(np.ascontiguousarray(pixels[at]))
            digit = digit.convert("L") if gray else digit
            digit = digit.resize((width, height), Image.Resampling.BILINEAR)
            images[row] = np.asarray(digit).reshape(height, width, -1)
        begin += len(chosen)
    boxes = np.tile(np.array([width / 2, height / 2, width, height], np.float32), (total, 1, 1))
    return {"images": images, "digits": digits, "boxes": boxes}


def _parts(parts: tuple[str, ...], split: str) -> tuple[str, ...]:
    return ("test",) if split == "test" else parts


def _chosen(part: str, split: str) -> np.ndarray:
    """Returns the mask bool [n] of a part's digits that are in a split."""
    mask = held_out(PARTS[part].digits, PARTS[part].validation)
    return mask if split == "validation" else ~mask


def published_files(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one published file after checking its SHA-256.

    Returns:
      images u8 [n, 32, 32, 3] and labels i32 [n], 0..9.

    Raises:
      UserError: the file is missing or damaged.
    """
    from scipy.io import loadmat  # takes a second

    path = folder / file_name(part)
    url, size = f"{svhn_archive.URL}/{path.name}", PARTS[part].bytes
    if not path.is_file():
        raise UserError(
            f"{path} is missing. Download {url} ({size:,} bytes, for non-commercial use only) and put it into {folder}. To "
            f"use another folder DIR, with the file in DIR/{NAME}, set the environment variable SEQDIGITS_DATA=DIR or "
            "--config.data.folder=DIR."
        )
    try:
        digest = core_files.sha256(path)
    except OSError as e:
        raise UserError(f"{path} cannot be read: {e.strerror}. Make it readable, or set another data.folder.") from e
    if digest != PARTS[part].sha256:
        raise UserError(
            f"{path} is damaged or not SVHN's: {path.stat().st_size:,} bytes with SHA-256 {digest[:12]}..., expected "
            f"{size:,} bytes, {PARTS[part].sha256[:12]}.... Download it again: {url}"
        )
    content = loadmat(path, variable_names=["X", "y"])
    return content["X"].transpose(3, 0, 1, 2), content["y"].ravel().astype(np.int32) % 10  # 10 stands for the digit 0
