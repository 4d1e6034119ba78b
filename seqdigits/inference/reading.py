"""The steps of reading a picture that are arithmetic on boxes, in numpy: from candidates to ranked numbers.

docs/reading.md numbers the steps; tests/golden/reading.json has vectors that a port must reproduce. Boxes are cxcywh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_HEIGHT_RATIO, MAX_GAP, MAX_OFFSET, OFFSET_SLOPE = 1.8, 1.3, 0.6, 0.35
MAX_STACK_OFFSET, MAX_STACK_GAP = 0.5, 0.7
"""Limits for linked digits, as in decoding/grouping.py, except for the larger MAX_GAP, in heights."""

STEEP_DEGREES = 60.0
"""A number with a steeper angle is read from top to bottom."""

MAX_LENGTH, SURE = 8, 0.8
"""More than MAX_LENGTH digits are a number only with a confidence of at least SURE."""

MIN_SHARED_AREA = 0.5
"""Two readings are of the same place if they share this part of the smaller one's area."""

MIN_CUT_SHARE = 0.3
"""A reading of a cut is of the place that was cut if it shares this part of the smaller area with its first reading."""

AGREEMENT_POWER = 8.0
"""A reading votes with its confidence to this power, so that a few sure readings outvote many unsure ones."""


CONFIDENCE_SLOPE, CONFIDENCE_BIAS, SINGLE_DIGIT_PENALTY = 1.1, 4.7, 2.5
"""The confidence of a number is sigmoid(slope x log(support + 0.001) + bias - penalty), the penalty for a single digit only.

Fitted with the weights `scene` on photographs of SVHN's validation split, pasted and whole, and on pictures without a number.
"""


Edges = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the picture."""


class Reading(NamedTuple):
    """A number as one view of the picture shows it: an overview level, or a cut.

    Attributes:
      text: the digits in reading order.
      box: f64 [n, 4], cxcywh of each digit, in pixels of the picture.
      digit_confidence: f64 [n], 0..1.
      angle: of the reading direction, in radians, clockwise from the right in the picture.
    """

    text: str
    box: np.ndarray
    digit_confidence: np.ndarray
    angle: float

    @property
    def confidence(self) -> float:
        """The geometric mean of the confidences of the digits."""
        return float(np.exp(np.mean(np.log(np.maximum(self.digit_confidence, 1e-6)))))

    @property
    def height(self) -> float:
        """The median height of the digits, in pixels of the picture."""
        return float(np.median(self.box[:, 3]))

    @property
    def edges(self) -> Edges:
        """Left, top, right and bottom of the number, in pixels of the picture."""
        low, high = self.box[:, :2] - self.box[:, 2:] / 2, self.box[:, :2] + self.box[:, 2:] / 2
        return (*low.min(0).tolist(), *high.max(0).tolist())


class Place(NamedTuple):
    """A place of the picture where a number may stand.

    Attributes:
      first: the best reading of the overview.
      readings: all readings of this place, `first` included.
      views: number of views that may show it.
    """

    first: Reading
    readings: tuple[Reading, ...]
    views: int


class Choice(NamedTuple):
    """The number that the readings of a place agree on.

    Attributes:
      reading: the most confident reading with that text.
      support: votes for that text per view that may show the place, 0..1.
      rank: numbers are sorted by it, the highest first.
      confidence: that the number is right, 0..1.
    """

    reading: Reading
    support: float
    rank: float
    confidence: float


def link(box: np.ndarray) -> np.ndarray:
    """Returns which digits are neighbors in a number: f64 [M, 4] -> bool [M, M], with a diagonal of False.

    >>> box = np.array([[10.0, 10, 8, 10], [20, 14, 8, 10], [60, 10, 8, 10], [60, 24, 8, 10], [33, 14, 4, 30]])
    >>> link(box).astype(int).tolist()
    [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    """
    x, y, w, h = box.T
    dx, dy = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    height = (h[:, None] + h) / 2
    similar = np.maximum(h[:, None], h) <= MAX_HEIGHT_RATIO * np.minimum(h[:, None], h)
    similar &= ~np.eye(len(x), dtype=bool)
    close = dx - (w[:, None] + w) / 2 < MAX_GAP * height
    level = dy < MAX_OFFSET * height + OFFSET_SLOPE * np.minimum(dx, height)
    on_line = similar & close & level
    isolated = ~on_line.any(-1)
    stacked = (dx < MAX_STACK_OFFSET * np.maximum(w[:, None], w)) & (dy - height < MAX_STACK_GAP * height)
    return on_line | (similar & stacked & isolated[:, None] & isolated)


def components(links: np.ndarray) -> np.ndarray:
    """Labels each element with the smallest index of its connected component: bool [M, M] -> i64 [M]."""
    label = np.arange(len(links))
    reach = links | np.eye(len(links), dtype=bool)
    while True:
        smallest = np.where(reach, label, len(links)).min(-1, initial=len(links))
        if (smallest == label).all():
            return label
        label = smallest


def make_reading(box: np.ndarray, probability: np.ndarray) -> Reading:
    """Puts the digits of one number in reading order.

    The reading direction is the principal axis of their centers, to the right; from top to bottom if it is steeper than
    STEEP_DEGREES.

    Args:
      box: f64 [n, 4].
      probability: f64 [n, 10], of each digit.
    """
    x, y = (box[:, i] - box[:, i].mean() for i in range(2))
    angle = 0.5 * math.atan2(2 * float((x * y).sum()), float((x * x - y * y).sum())) if len(box) > 1 else 0.0
    if abs(angle) > math.radians(STEEP_DEGREES):
        position, angle = y, math.pi / 2
    else:
        position = x * math.cos(angle) + y * math.sin(angle)
    order = np.argsort(position, kind="stable")
    probability = probability[order]
    return Reading("".join(map(str, probability.argmax(-1))), box[order], probability.max(-1), angle)


def group(box: np.ndarray, probability: np.ndarray, min_score: float) -> list[Reading]:
    """Groups the candidates of one view into readings.

    Args:
      box: f64 [M, 4].
      probability: f64 [M, 10], of each digit; their sum is the score.
      min_score: candidates with a lower score are no digits.

    Returns:
      The readings, in the order of their first candidates.
    """
    score = probability.sum(-1)
    sure = (score > 0) & (score >= min_score)  # a missing candidate has the score 0
    box, probability = box[sure], probability[sure]
    label = components(link(box))
    readings = [make_reading(box[label == i], probability[label == i]) for i in np.unique(label)]
    return [r for r in readings if len(r.text) <= MAX_LENGTH or r.confidence >= SURE]


def shared_area(a: Reading, b: Reading) -> float:
    """Returns the area that two readings share, as a part of the smaller one's area, 0..1."""
    return shared_edges_area(a.edges, b.edges)


def shared_edges_area(a: Edges, b: Edges) -> float:
    """Returns the area that two rectangles share, as a part of the smaller one's area, 0..1."""
    (left, top, right, bottom), (left2, top2, right2, bottom2) = a, b
    width = max(min(right, right2) - max(left, left2), 0.0)
    height = max(min(bottom, bottom2) - max(top, top2), 0.0)
    smaller = min((right - left) * (bottom - top), (right2 - left2) * (bottom2 - top2))
    return width * height / max(smaller, 1e-9)


def find_places(readings: Sequence[Reading], count: int, views: int) -> list[Place]:
    """Returns the best places, best first.

    Readings are ranked by confidence x height^0.25 x length^0.3, where more than three digits count as three. A reading
    belongs to the first place whose best reading it shares more than MIN_SHARED_AREA with.

    Args:
      readings: of all overview levels.
      count: the number of places, at most.
      views: the number of levels.
    """
    ranked = sorted(readings, key=lambda r: -r.confidence * r.height**0.25 * min(len(r.text), 3) ** 0.3)
    places: list[list[Reading]] = []
    first_edges: list[Edges] = []  # computing edges takes longer than comparing them
    for reading in ranked:
        edges = reading.edges
        for place, first in zip(places, first_edges, strict=True):
            if shared_edges_area(first, edges) > MIN_SHARED_AREA:
                place.append(reading)
                break
        else:
            places.append([reading])
            first_edges.append(edges)
    return [Place(place[0], tuple(place), views) for place in places[:count]]


def add_readings(place: Place, readings: Sequence[Reading], views: int) -> Place:
    """Adds the readings of `views` cuts to a place: those that share more than MIN_CUT_SHARE with its first reading."""
    near = tuple(r for r in readings if shared_area(place.first, r) > MIN_CUT_SHARE)
    return Place(place.first, place.readings + near, place.views + views)


def choose(place: Place, longer_side: float) -> Choice:
    """Chooses the text that the readings of a place vote for, each with its confidence to the power AGREEMENT_POWER.

    Args:
      place: with the readings of its views.
      longer_side: of the picture, in pixels.
    """
    votes: dict[str, float] = {}
    for reading in place.readings:
        votes[reading.text] = votes.get(reading.text, 0.0) + reading.confidence**AGREEMENT_POWER
    text = max(votes, key=lambda t: votes[t])
    best = max((r for r in place.readings if r.text == text), key=lambda r: r.confidence)
    support = min(votes[text] / place.views, 1.0)
    rank = support * min(len(text), 3) * math.sqrt(best.height / longer_side)
    logit = CONFIDENCE_SLOPE * math.log(support + 1e-3) + CONFIDENCE_BIAS - SINGLE_DIGIT_PENALTY * (len(text) == 1)
    return Choice(best, support, rank, 1 / (1 + math.exp(-logit)))


def remove_overlaps(choices: Sequence[Choice]) -> list[Choice]:
    """Sorts numbers by rank, best first, and drops those that share more than MIN_SHARED_AREA with a better one."""
    kept: list[Choice] = []
    for choice in sorted(choices, key=lambda c: -c.rank):
        if all(shared_area(choice.reading, better.reading) <= MIN_SHARED_AREA for better in kept):
            kept.append(choice)
    return kept
