"""The answers of an engine to labeled pictures: ours, or an off-the-shelf one."""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    """What an engine answers to one picture.

    Attributes:
      number: the digits of the best number in reading order; None = no number is found.
      confidence: of `number`, 0..1; 0 where there is none.
      milliseconds: wall time of reading the decoded picture.
      numbers: all numbers found, best first; `number` is the first.
      box: of `number`, left, top, width and height in pixels of the picture; None if unknown.
    """

    number: str | None
    confidence: float
    milliseconds: float
    numbers: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
