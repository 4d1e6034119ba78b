"""Finds parts of natural backgrounds in which a Reader sees a number, for training: see data/scenes/misread.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos import paste
from seqdigits.data.photos.backgrounds import Background
from seqdigits.data.scenes.misread import HEIGHT, WIDTH
from seqdigits.inference.reader import Number, Reader

MIN_CONFIDENCE = 0.3
"""A number with a lower confidence is left out."""

DIGIT_HEIGHTS = (10, 46)
"""The height of what was read as digits is drawn log-uniformly from this range, in pixels of the part."""


class Misread(NamedTuple):
    """A number that a Reader saw where there is none.

    Attributes:
      background: the photograph.
      confidence: of the number, 0..1.
      part: u8 [HEIGHT, WIDTH, 3], the number in the middle.
    """

    background: Background
    confidence: float
    part: np.ndarray


def find(reader: Reader, backgrounds: Sequence[Background], pictures: int, seed: int, stop: Stop) -> list[Misread]:
    """Reads random parts of backgrounds as pictures, and returns what is read, the most confident first.

    Args:
      reader: whose errors are sought.
      backgrounds: photographs without a number.
      pictures: number of parts that are read.
      seed: of the parts; each depends only on the seed and its position.
      stop: ends the search.

    Raises:
      Stopped: `stop` was set.
    """
    found = []
    for k in progress(iter(range(pictures)), pictures, "pictures", "find-misread"):
        if stop.is_set():
            raise Stopped
        rng = np.random.default_rng([seed, k])
        background = backgrounds[k % len(backgrounds)]
        picture = paste.cut(background.pixels, rng)
        for number in reader.read(picture).numbers:
            if number.confidence >= MIN_CONFIDENCE:
                low, high = map(math.log, DIGIT_HEIGHTS)
                part = part_around(picture, number, math.exp(rng.uniform(low, high)))
                found.append(Misread(background, number.confidence, part))
    return sorted(found, key=lambda misread: -misread.confidence)


def part_around(picture: np.ndarray, number: Number, digit_height: float) -> np.ndarray:
    """Returns the part of a picture around a number, u8 [HEIGHT, WIDTH, 3]; beyond the picture, its edge is repeated.

    Args:
      picture: u8 [h, w, 3].
      number: in the picture.
      digit_height: mean height of its digits in the part, in pixels.
    """
    scale = digit_height / np.mean([digit.box[3] for digit in number.digits])
    left, top, width, height = number.box
    half = np.array([WIDTH, HEIGHT]) / scale / 2
    low = np.array([left + width / 2, top + height / 2]) - half
    margin = math.ceil(max(0.0, *-low, *(low + 2 * half - picture.shape[1::-1])))
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    box = tuple((np.concatenate([low, low + 2 * half]) + margin).tolist())
    return np.asarray(Image.fromarray(padded).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box))
