"""Writes SVHN files of single digits (format 2) for tests."""

import hashlib

import numpy as np
from scipy.io import savemat

from seqdigits.data.photos import svhn_cropped
from seqdigits.data.photos.svhn_cropped import Part

SIZES = {"train": (30, 6), "test": (12, 0), "extra": (20, 4)}
"""Number of digits of each part, and number of them held out."""


def noise(seed, n):
    """Returns random images u8 [n, 32, 32, 3] and labels i32 [n]; from n = 10 on, all digits occur."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)
    return images, (np.arange(n, dtype=np.int32) * 7 + seed) % 10


def write(folder, part, images, labels):
    """Writes PART_32x32.mat in the published layout; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / svhn_cropped.file_name(part)
    content = {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)}
    savemat(path, content, do_compression=True)
    return path


def publish(monkeypatch, folder, parts):
    """Writes {part: (images, labels, held out)} to a data folder, and registers the files as the published ones."""
    for part, (images, labels, held) in parts.items():
        content = write(folder / "svhn_cropped", part, images, labels).read_bytes()
        known = Part(len(images), held, len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(svhn_cropped.PARTS, part, known)


CROPPED = {
    "data.composition": "cropped_digit",
    "data.photographs": "svhn_cropped",
    "data.digits": "mnist",
    "data.height": 32,
    "data.width": 32,
    "data.min_length": 1,
    "data.max_length": 1,
    "data.train_examples": 165_000,
    "data.validation_examples": 15_000,
    "data.test_examples": 30_000,
}
