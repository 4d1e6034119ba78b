"""Digits that stand in photographs of SVHN, but not in its labels: the rule that finds them, and the list of those found.

A detector would learn from them that digits are background. `seqdigits find-unlabeled` applies the rule to what the
Reader reads, and writes the list, FILE.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqdigits.core.files import write_atomically

FILE = Path(__file__).with_name("svhn_unlabeled.json")
"""The list: number of the photograph in SVHN train -> boxes cxcywh, in pixels of the photograph."""

MIN_CONFIDENCE = 0.85
"""A digit is found anywhere if it is read with this confidence, and is MIN_RATIO to MAX_RATIO times as high as the labeled ones."""
MIN_RATIO, MAX_RATIO = 0.5, 2.0

MIN_CONFIDENCE_IN_LINE, MIN_CONFIDENCE_ONE = 0.6, 0.8
"""In line with the labeled digits, a lower confidence is enough; for a 1, which a bar or an edge looks like, the second."""
LINE_OFFSET, LINE_GAP, LINE_RATIO = 0.4, 2.5, (0.7, 1.4)
"""In line: at most so far above or below, and left or right, of a labeled digit, in its heights; height ratios as stated."""

MAX_OVERLAP = 0.25
"""A digit that shares more of its area with a labeled one is that digit."""

MAX_FOUND = 3
"""Where more are found, the Reader has read a texture; none is taken."""

REJECTED = (54, 106, 119, 337, 645, 646, 749, 1287, 1869)
"""Photographs where something else was read, as seen by eye on all that the rule finds in the first 2,000 of SVHN train."""


def find(digits: Sequence[int], confidence: np.ndarray, boxes: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """Returns the boxes of the digits of a photograph that its labels leave out.

    Args:
      digits: the digits that are read, 0..9, n of them.
      confidence: f64 [n], of each.
      boxes: f64 [n, 4], of each, cxcywh in pixels of the photograph.
      labeled: f64 [m, 4], the labeled boxes.

    Returns:
      f64 [k, 4], k from 0 to MAX_FOUND.

    >>> labeled = np.array([[50.0, 50, 20, 40]])
    >>> beside, same, elsewhere = [80.0, 52, 20, 40], [52.0, 50, 20, 40], [50.0, 150, 20, 40]
    >>> find([7, 7, 7], np.array([0.7, 0.9, 0.7]), np.array([beside, same, elsewhere]), labeled).tolist()
    [[80.0, 52.0, 20.0, 40.0]]
    """
    if not len(boxes):
        return np.zeros((0, 4))
    ratio = boxes[:, 3] / np.median(labeled[:, 3])
    # [n, m, 2], from each labeled digit, in its heights.
    offset = np.abs(boxes[:, None, :2] - labeled[None, :, :2]) / labeled[None, :, 3:]
    in_line = ((offset[..., 0] < LINE_GAP) & (offset[..., 1] < LINE_OFFSET)).any(1)
    in_line &= (ratio > LINE_RATIO[0]) & (ratio < LINE_RATIO[1])
    enough_in_line = np.where(np.asarray(digits) == 1, MIN_CONFIDENCE_ONE, MIN_CONFIDENCE_IN_LINE)
    alone = (confidence >= MIN_CONFIDENCE) & (ratio > MIN_RATIO) & (ratio < MAX_RATIO)
    is_other = (_shared(boxes, labeled) <= MAX_OVERLAP).all(1)
    found = boxes[is_other & (alone | (in_line & (confidence >= enough_in_line)))]
    return found if len(found) <= MAX_FOUND else found[:0]


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns which share of the smaller area each box shares with each other: f64 [n, 4], f64 [m, 4] -> f64 [n, m]."""
    low = np.maximum((boxes[:, :2] - boxes[:, 2:] / 2)[:, None], (others[:, :2] - others[:, 2:] / 2)[None])
    high = np.minimum((boxes[:, :2] + boxes[:, 2:] / 2)[:, None], (others[:, :2] + others[:, 2:] / 2)[None])
    smaller = np.minimum(boxes[:, 2:].prod(1)[:, None], others[:, 2:].prod(1)[None])
    return np.maximum(high - low, 0).prod(-1) / smaller


def load() -> dict[int, np.ndarray]:
    """Returns the list: the boxes f64 [k, 4] of each photograph of SVHN train that has some, by its number."""
    return {int(number): np.array(boxes) for number, boxes in json.loads(FILE.read_text()).items()}


def write(found: dict[int, np.ndarray]) -> int:
    """Writes the list from the boxes found in each photograph, without those rejected; returns its number of photographs."""
    kept = {
        str(n): np.round(boxes, 1).tolist() for n, boxes in sorted(found.items()) if len(boxes) and n not in REJECTED
    }
    rows = ",\n".join(f' "{number}": {json.dumps(boxes)}' for number, boxes in kept.items())
    write_atomically(FILE, f"{{\n{rows}\n}}\n")
    return len(kept)
