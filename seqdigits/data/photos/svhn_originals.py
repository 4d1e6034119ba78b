"""The photographs of SVHN in their own size, neither cropped nor resized."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqdigits.core.files import data_folder
from seqdigits.core.progress import progress
from seqdigits.data.photos import svhn_archive
from seqdigits.data.photos.svhn import PHOTOGRAPHS, annotations_of


class Photo(NamedTuple):
    """A photograph of a house number, in its own size.

    Attributes:
      number: of its file, from 1.
      pixels: u8 [h, w, 3], RGB.
      digits: i32 [n], 0..9.
      boxes: f32 [n, 4], of each digit, cxcywh in pixels of the photograph.
    """

    number: int
    pixels: np.ndarray
    digits: np.ndarray
    boxes: np.ndarray


def original_photos(name: str, split: str) -> list[Photo]:
    """Returns the photographs of a split of SVHN train or test, in the order of their numbers.

    Args:
      name: see `count`.
      split: see `count`.

    Raises:
      UserError: see `load`.
    """
    part = "test" if split == "test" else "train"
    place = svhn_archive.place(data_folder("") / svhn_archive.SUBFOLDER, part)
    max_length = len(PHOTOGRAPHS[name].lengths[part])
    chosen = {a.number: a for a in annotations_of(name, part, split, place, max_length, single=False)}
    found = {}
    for number, data in progress(
        svhn_archive.photographs(place, part, chosen.keys()), len(chosen), "photographs", place
    ):
        pixels = np.asarray(svhn_archive.decode_image(data, False, f"{part}/{number}.png in {place}"))
        found[number] = Photo(number, pixels, chosen[number].digits, chosen[number].boxes)
    return [found[number] for number in sorted(found)]
