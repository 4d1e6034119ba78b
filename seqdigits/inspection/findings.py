"""Sums up the statistics of a data set in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seqdigits.inspection.statistics import SplitStatistics

RANDOM_COMPOSITIONS = ("canvas", "centered", "rotated")
"""Values of data.composition under which two images can coincide by chance."""

_UNEVEN = 1.2  # ratio of two frequencies, or of two heights, from which on they differ


@dataclass(frozen=True)
class Finding:
    """One sentence; `level` is "good", "note", "warn" or "bad"."""

    level: str
    text: str


def find(
    composition: str,
    statistics: Sequence[SplitStatistics],
    copies: Mapping[tuple[str, str], int],
    contradictions: int,
) -> list[Finding]:
    """Returns what a reader should know first, problems before remarks.

    Args:
      composition: data.composition.
      statistics: of at least one split.
      copies: see checks.copies.
      contradictions: see checks.contradictions.
    """
    return [
        *_faults(statistics),
        *_duplicates(composition, [s.split for s in statistics], copies),
        *_contradictions(contradictions),
        *(finding for s in statistics for finding in _notes(s)),
        *_balance(statistics[0]),
        *_sizes(statistics),
    ]


def plural(n: int, one: str, many: str = "") -> str:
    """Returns a number and its noun.

    >>> plural(1, "box", "boxes"), plural(2000, "digit")
    ('1 box', '2,000 digits')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _faults(statistics: Sequence[SplitStatistics]) -> Iterator[Finding]:
    total, wrong = sum(s.examples for s in statistics), sum(s.faults.total() for s in statistics)
    if wrong:
        yield Finding("bad", f"{plural(wrong, 'fault')} in {plural(total, 'example')}, listed below.")
    else:
        yield Finding(
            "good", f"All {total:,} examples can be read, each index occurs once, and labels and boxes are in range."
        )


def _duplicates(composition: str, splits: list[str], copies: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    pairs = [(a, b) for i, a in enumerate(splits) for b in splits[i + 1 :] if copies[a, b]]
    for a, b in pairs:
        there, here = copies[a, b], copies[b, a]
        is_ = "is" if here == 1 else "are"
        yield Finding("warn", f"{plural(here, 'image')} of {b} {is_} also in {a} ({there:,} there), byte for byte.")
    if len(splits) > 1 and not pairs:
        yield Finding("good", "No image occurs in two splits.")
    if again := [f"{copies[a, a]:,} of {a}" for a in splits if copies[a, a]]:
        text = f"Images that occur more than once within a split: {', '.join(again)}."
        if composition in RANDOM_COMPOSITIONS:
            text += " They are composed at random: with few digits and few positions, some coincide."
        yield Finding("note", text)


def _contradictions(number: int) -> Iterator[Finding]:
    if number:
        yield Finding("warn", f"{plural(number, 'image')} {_have(number)} duplicates with another label.")


def _notes(s: SplitStatistics) -> Iterator[Finding]:
    digits = max(int(s.digits.sum()), 1)
    if n := s.notes["over"]:
        cross = "crosses" if n == 1 else "cross"
        yield Finding("note", f"In {s.split}, {plural(n, 'box', 'boxes')} ({n / digits:.1%}) {cross} the image border.")
    if n := s.notes["unknown"]:
        yield Finding("note", f"In {s.split}, {plural(n, 'digit')} ({n / digits:.1%}) {_have(n)} no known box.")
    if n := s.notes["disorder"]:
        yield Finding("note", f"In {s.split}, the boxes of {plural(n, 'image')} are not in the order of the digits.")
    if n := s.notes["plain"]:
        yield Finding("warn", f"In {s.split}, {plural(n, 'image')} {_have(n)} a single color.")


def _have(n: int) -> str:
    return "has" if n == 1 else "have"


def _balance(s: SplitStatistics) -> Iterator[Finding]:
    """Compares the frequencies of lengths and of digits."""
    first = s.spec.min_length
    for what, counts, start in (("length", s.lengths[first:], first), ("digit", s.digits.sum(0), 0)):
        if len(counts) == 1 or not counts.sum():
            continue
        share = counts / counts.sum()
        there = np.flatnonzero(counts)
        most, least = int(share.argmax()), int(there[share[there].argmin()])
        if len(there) < len(counts):
            never = ", ".join(str(start + i) for i in np.flatnonzero(counts == 0))
            yield Finding("note", f"{what.capitalize()}s that do not occur in {s.split}: {never}.")
        if share[most] < _UNEVEN * share[least]:
            if len(there) > 1:
                other = "other " if len(there) < len(counts) else ""
                yield Finding("note", f"All {other}{what}s are about equally frequent in {s.split}.")
        else:
            yield Finding(
                "note",
                f"Most frequent {what} in {s.split}: {start + most}, {share[most]:.1%}; "
                f"least frequent: {start + least}, {share[least]:.1%}.",
            )


def _sizes(statistics: Sequence[SplitStatistics]) -> Iterator[Finding]:
    """Compares the heights of digits with those of the first split."""
    those = [s for s in statistics if s.boxes]
    for s in those[1:]:
        here, there = s.quantile(1, 0.5), those[0].quantile(1, 0.5)
        if max(here, there) > _UNEVEN * min(here, there):
            yield Finding(
                "note",
                f"Digits are {'larger' if here > there else 'smaller'} in {s.split} than in {those[0].split}: "
                f"the median height is {here} px, not {there} px.",
            )
