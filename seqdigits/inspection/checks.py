"""What examples must be like (faults), and what is worth knowing about them though it may be meant so (notes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Spec, digits_to_text

FAULTS = {
    "label": "a label that is neither a digit, 0 to 9, nor NO_DIGIT, 10",
    "gap": "a digit behind NO_DIGIT",
    "length": "fewer digits than data.min_length, or more than data.max_length",
    "not_finite": "a box that is not made of finite numbers",
    "no_size": "the box of a digit, without width or height",
    "no_digit_weight": "a box where there is no digit",
    "outside": "a box beside the image (of photographs: wholly; of what is made of digits: its center)",
    "no_index": "an index that the split does not have",
    "twice": "an index that comes more than once",
    "missing": "an index that never comes",
}
"""What breaks the contract of Batch, by kind."""

NOTES = {
    "unknown": "digits whose box is not known (all zeros)",
    "over": "boxes that reach over the edge of the image",
    "disorder": "numbers whose digits do not follow each other along the row",
    "plain": "images of one color",
}
"""What is counted though it is no fault."""

_EDGE = 0.01  # pixels beyond the edge that are rounding


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, a key of FAULTS, which example it is in, and what it looks like."""

    kind: str
    split: str
    index: int
    detail: str


def sound(digits: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Where a digit has a box of some size: bool [B, L] of i32 [B, L] and f32 [B, L, 4]."""
    return (digits != NO_DIGIT) & np.isfinite(boxes).all(-1) & (boxes[..., 2:] > 0).all(-1)


def outside(boxes: np.ndarray, spec: Spec) -> np.ndarray:
    """Which share of each box lies beyond the edge of the image, 0..1: f64 [...] of f32 [..., 4], all of some size."""
    boxes = boxes.astype(np.float64)
    height, width, _ = spec.image
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    beyond = (low < -_EDGE).any(-1) | (high > np.array([width, height]) + _EDGE).any(-1)
    within = np.clip(np.minimum(high, [width, height]) - np.maximum(low, 0), 0, None).prod(-1)
    return np.where(beyond, 1 - within / boxes[..., 2:].prod(-1), 0.0)


def faults(digits: np.ndarray, boxes: np.ndarray, spec: Spec, photographs: bool) -> dict[str, np.ndarray]:
    """Where labels and boxes are wrong, by kind: bool [B, L]. What concerns a whole example stands at its first position.

    Args:
      digits: i32 [B, L].
      boxes: f32 [B, L, 4], cxcywh in pixels.
      spec: what they should be like.
      photographs: whether boxes may reach over the edge, as they do in photographs of numbers.
    """
    there = digits != NO_DIGIT
    length = there.sum(1)
    wrong_length = np.zeros_like(there)
    wrong_length[:, 0] = (length < spec.min_length) | (length > spec.max_length)
    finite = np.isfinite(boxes).all(-1)
    known = (boxes != 0).any(-1)
    good = sound(digits, boxes)
    height, width, _ = spec.image
    with np.errstate(invalid="ignore", divide="ignore"):
        beyond = ((boxes[..., :2] < 0) | (boxes[..., :2] > np.array([width, height]))).any(-1)
        beside = outside(boxes, spec) >= 1 if photographs else np.asarray(beyond)
    return {
        "label": ((digits < 0) | (digits > 9)) & there,
        "gap": there & (np.cumsum(~there, axis=1) > 0),
        "length": wrong_length,
        "not_finite": ~finite,
        "no_size": there & finite & known & ~good,
        "no_digit_weight": ~there & finite & known,
        "outside": good & beside,
    }


def described(kind: str, digits: np.ndarray, boxes: np.ndarray, place: int) -> str:
    """One of `faults`, for a person: i32 [L], f32 [L, 4], and the position from 0.

    >>> described("label", np.array([4, 12]), np.zeros((2, 4)), 1)
    'reads 412, position 2 is 12'
    """
    reads = f"reads {digits_to_text(digits) or 'nothing'}"
    if kind in ("label", "gap"):
        return f"{reads}, position {place + 1} is {digits[place]}"
    if kind == "length":
        n = int((digits != NO_DIGIT).sum())
        return f"{reads}, {n} digit{'' if n == 1 else 's'}"
    x, y, w, h = boxes[place].tolist()
    return f"{reads}, box {place + 1}: center {x:g}, {y:g}, {w:g} wide, {h:g} high"


def disorder(digits: np.ndarray, boxes: np.ndarray, number: np.ndarray, stacked: bool) -> np.ndarray:
    """Which examples have a digit that stands before the one in front of it in its number, along the row: bool [B].

    Args:
      digits: i32 [B, L].
      boxes: f32 [B, L, 4].
      number: i32 [B, L], as in Fingerprint. Where it is told, the rows of numbers may run either way.
      stacked: whether rows run from top to bottom, else from left to right.
    """
    good = sound(digits, boxes)
    back = boxes[:, 1:, :2] < boxes[:, :-1, :2]
    one = back[..., 1 if stacked else 0]
    wrong = np.where(number[:, 1:] >= 0, back.all(-1), one)
    return (good[:, 1:] & good[:, :-1] & (number[:, 1:] == number[:, :-1]) & wrong).any(1)


@dataclass(frozen=True)
class Prints:
    """Fingerprints of the examples of one split: two images of one fingerprint are the same, byte for byte (that two others
    share one has odds of 1 to 2^64).

    Attributes:
      index: i32 [N].
      image: u64 [N].
      digits: u32 [N], of the labels.
    """

    index: np.ndarray
    image: np.ndarray
    digits: np.ndarray


def copies(prints: Mapping[str, Prints]) -> dict[tuple[str, str], int]:
    """How many images of the first split are also in the second one; of one and the same split: how many are there again."""
    found = {}
    for a, one in prints.items():
        for b, other in prints.items():
            if a == b:
                _, inverse, times = np.unique(one.image, return_inverse=True, return_counts=True)
                found[a, b] = int((times[inverse] > 1).sum())
            else:
                found[a, b] = int(np.isin(one.image, other.image).sum())
    return found


def contradictions(prints: Mapping[str, Prints]) -> int:
    """How many images, over all splits, are also there with other digits."""
    pairs = np.stack(
        [
            np.concatenate([p.image for p in prints.values()]),
            np.concatenate([p.digits.astype(np.uint64) for p in prints.values()]),
        ],
        axis=1,
    )
    different, times = np.unique(pairs, axis=0, return_counts=True)
    _, inverse, labels = np.unique(different[:, 0], return_inverse=True, return_counts=True)
    return int(times[labels[inverse] > 1].sum())


def places(prints: Mapping[str, Prints], image: int) -> list[tuple[str, int]]:
    """Split and index of all images of one fingerprint."""
    return [(split, int(i)) for split, p in prints.items() for i in np.sort(p.index[p.image == np.uint64(image)])]
