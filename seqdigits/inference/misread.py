"""Finds parts of natural backgrounds in which a Reader sees a number, for training: see data/scenes/misread.py."""

from __future__ import annotations

from collections import Counter
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

PER_BACKGROUND = 4
"""So many numbers of one photograph are kept, the most confident ones."""

DIGIT_HEIGHTS = (10, 46)
"""The height of what was read as digits, in pixels of the part: drawn log-uniformly, as far as the picture fills the part."""

MIDDLE = (slice(64, 128), slice(32, 64))
"""The columns and rows of a part that every view of 64x128 shows: there is the center of the number."""


class FalseNumber(NamedTuple):
    """A number that a Reader saw where there is none.

    Attributes:
      background: the photograph.
      confidence: of the number, 0..1.
      part: u8 [HEIGHT, WIDTH, 3], what shows it.
    """

    background: Background
    confidence: float
    part: np.ndarray


def find(reader: Reader, backgrounds: Sequence[Background], pictures: int, seed: int, stop: Stop) -> list[FalseNumber]:
    """Reads random parts of backgrounds as upright pictures, and returns what is read, the most confident first.

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
        for number in reader.read_upright(Image.fromarray(picture)):
            part = part_around(picture, number, rng.random())
            if number.confidence >= MIN_CONFIDENCE and part is not None:
                found.append(FalseNumber(background, number.confidence, part))
    found.sort(key=lambda false: -false.confidence)
    taken: Counter[str] = Counter()
    kept = []
    for false in found:
        taken[false.background.name] += 1
        if taken[false.background.name] <= PER_BACKGROUND:
            kept.append(false)
    return kept


def part_around(picture: np.ndarray, number: Number, share: float) -> np.ndarray | None:
    """Returns the part of a picture around a number, u8 [HEIGHT, WIDTH, 3]; None if the picture does not fill one.

    Args:
      picture: u8 [h, w, 3].
      number: in the picture.
      share: 0..1, of the allowed range of the height of its digits, from the smallest height on.
    """
    height = float(np.mean([digit.box[3] for digit in number.digits]))
    size = np.array(picture.shape[1::-1])
    low, high = max(DIGIT_HEIGHTS[0], height * (np.array([WIDTH, HEIGHT]) / size).max()), DIGIT_HEIGHTS[1]
    if low > high:
        return None
    scale = low * (high / low) ** share / height
    left, top, width, box_height = number.box
    center = np.array([left + width / 2, top + box_height / 2])
    shown = np.array([WIDTH, HEIGHT]) / scale
    corner = np.clip(center - shown / 2, 0, np.maximum(size - shown, 0))
    x, y = (center - corner) * scale
    columns, rows = MIDDLE
    if not (columns.start <= x < columns.stop and rows.start <= y < rows.stop):
        return None
    box = tuple(np.concatenate([corner, np.minimum(corner + shown, size)]).tolist())
    return np.asarray(Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box))
