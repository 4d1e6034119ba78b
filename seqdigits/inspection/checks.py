"""Checks of examples: faults break the contract of Batch; notes are unusual but may be intended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Spec, digits_to_text

FAULTS = {
    "label": "a label that is neither a digit, 0 to 9, nor NO_DIGIT, 10",
    "gap": "a digit after NO_DIGIT",
    "length": "fewer digits than data.min_length, or more than data.max_length",
    "not_finite": "a box with a number that is not finite",
    "no_size": "the box of a digit without width or height",
    "no_digit": "a box at a position without a digit",
    "outside": "a box outside the image (in photographs the entire box, in synthetic images its center)",
    "no_index": "an index outside the split",
    "twice": "an index that occurs more than once",
    "missing": "an index that does not occur",
}
"""The kinds of faults, which break the contract of Batch, with their descriptions."""

NOTES = {
    "unknown": "digits without a known box (all zeros)",
    "over": "boxes that extend beyond the edge of the image",
    "disorder": "numbers whose digits are out of order along the row",
    "plain": "images of one color",
}
"""The kinds of notes, which are counted but are no faults, with their descriptions."""

_EDGE = 0.01  # pixels beyond the edge that are attributed to rounding


@dataclass(frozen=True)
class Fault:
    """One fault: its kind (a key of FAULTS), the split and index of its example, and a description."""

    kind: str
    split: str
    index: int
    detail: str


def has_valid_box(digits: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns where a digit has a finite box of positive size, i32 [B, L], f32 [B, L, 4] -> bool [B, L]."""
    return (digits != NO_DIGIT) & np.isfinite(boxes).all(-1) & (boxes[..., 2:] > 0).all(-1)


def share_outside(boxes: np.ndarray, spec: Spec) -> np.ndarray:
    """Returns the share of each box beyond the edge of the image, f32 [..., 4] -> f64 [...], 0..1.

    All boxes must be of positive size.
    """
    boxes = boxes.astype(np.float64)
    height, width, _ = spec.image
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    beyond = (low < -_EDGE).any(-1) | (high > np.array([width, height]) + _EDGE).any(-1)
    area_within = np.clip(np.minimum(high, [width, height]) - np.maximum(low, 0), 0, None).prod(-1)
    return np.where(beyond, 1 - area_within / boxes[..., 2:].prod(-1), 0.0)


def find_faults(digits: np.ndarray, boxes: np.ndarray, spec: Spec, photographs: bool) -> dict[str, np.ndarray]:
    """Returns where labels and boxes are wrong, by kind of fault, bool [B, L].

    A fault of an entire example is marked at its first position.

    Args:
      digits: i32 [B, L].
      boxes: f32 [B, L, 4], cxcywh in pixels.
      spec: the expected image size and lengths.
      photographs: whether boxes may extend beyond the edge, as they do in photographs of numbers.
    """
    is_digit = digits != NO_DIGIT
    length = is_digit.sum(1)
    wrong_length = np.zeros_like(is_digit)
    wrong_length[:, 0] = (length < spec.min_length) | (length > spec.max_length)
    finite = np.isfinite(boxes).all(-1)
    known = (boxes != 0).any(-1)
    valid = has_valid_box(digits, boxes)
    height, width, _ = spec.image
    with np.errstate(invalid="ignore", divide="ignore"):
        center_outside = ((boxes[..., :2] < 0) | (boxes[..., :2] > np.array([width, height]))).any(-1)
        is_outside = share_outside(boxes, spec) >= 1 if photographs else np.asarray(center_outside)
    return {
        "label": ((digits < 0) | (digits > 9)) & is_digit,
        "gap": is_digit & (np.cumsum(~is_digit, axis=1) > 0),
        "length": wrong_length,
        "not_finite": ~finite,
        "no_size": is_digit & finite & known & ~valid,
        "no_digit": ~is_digit & finite & known,
        "outside": valid & is_outside,
    }


def describe_fault(kind: str, digits: np.ndarray, boxes: np.ndarray, place: int) -> str:
    """Returns a human-readable description of one fault.

    Args:
      kind: a key of FAULTS.
      digits: i32 [L], the labels of the example.
      boxes: f32 [L, 4], its boxes.
      place: the position of the fault, from 0.

    >>> describe_fault("label", np.array([4, 12]), np.zeros((2, 4)), 1)
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


def is_out_of_order(digits: np.ndarray, boxes: np.ndarray, number: np.ndarray, stacked: bool) -> np.ndarray:
    """Returns which examples have a digit before its predecessor in the number, along the row, bool [B].

    Args:
      digits: i32 [B, L].
      boxes: f32 [B, L, 4].
      number: i32 [B, L], as in Fingerprint. If it is known (0 or more), rows may run in either direction, so only a
        digit that is both left of and above its predecessor counts.
      stacked: whether rows run from top to bottom; else they run from left to right.
    """
    valid = has_valid_box(digits, boxes)
    backward = boxes[:, 1:, :2] < boxes[:, :-1, :2]
    along_row = backward[..., 1 if stacked else 0]
    wrong = np.where(number[:, 1:] >= 0, backward.all(-1), along_row)
    return (valid[:, 1:] & valid[:, :-1] & (number[:, 1:] == number[:, :-1]) & wrong).any(1)


@dataclass(frozen=True)
class Prints:
    """The fingerprints of the examples of one split.

    Images of equal fingerprints are taken to be equal byte for byte; two different images share one with probability
    2^-64.

    Attributes:
      index: i32 [N], the indices of the examples.
      image: u64 [N], the fingerprints of the images.
      digits: u32 [N], the fingerprints of the labels.
    """

    index: np.ndarray
    image: np.ndarray
    digits: np.ndarray


def copies(prints: Mapping[str, Prints]) -> dict[tuple[str, str], int]:
    """Returns the number of images of split a that are also in split b, by (a, b).

    The entry (a, a) is the number of images of a that occur more than once in it.
    """
    counts = {}
    for a, one in prints.items():
        for b, other in prints.items():
            if a == b:
                _, inverse, times = np.unique(one.image, return_inverse=True, return_counts=True)
                counts[a, b] = int((times[inverse] > 1).sum())
            else:
                counts[a, b] = int(np.isin(one.image, other.image).sum())
    return counts


def contradictions(prints: Mapping[str, Prints]) -> int:
    """Returns the number of images, over all splits, that also occur with other digits."""
    pairs = np.stack(
        [
            np.concatenate([p.image for p in prints.values()]),
            np.concatenate([p.digits.astype(np.uint64) for p in prints.values()]),
        ],
        axis=1,
    )
    unique_pairs, times = np.unique(pairs, axis=0, return_counts=True)
    _, inverse, labels = np.unique(unique_pairs[:, 0], return_inverse=True, return_counts=True)
    return int(times[labels[inverse] > 1].sum())


def places(prints: Mapping[str, Prints], image: int) -> list[tuple[str, int]]:
    """Returns the split and index of every image with this fingerprint."""
    return [(split, int(i)) for split, p in prints.items() for i in np.sort(p.index[p.image == np.uint64(image)])]
