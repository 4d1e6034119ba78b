"""How fast long work goes, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar


class Clock:
    """Images per second since the last line, time spent, and time left. Rates leave out the first call, which compiles."""

    def __init__(self, before: float, last: int, batch_size: int):
        """`before`: seconds spent by earlier parts of the run."""
        self._began = time.monotonic() - before
        self._last, self._batch_size = last, batch_size
        self.first: tuple[int, float] | None = None
        self._mark = (0, 0.0)

    def start(self, step: int) -> None:
        """The first call is done."""
        self.first = self._mark = (step, time.monotonic())

    def restart(self, step: int) -> None:
        """What was done since is not training: it does not count in the rate."""
        self._mark = (step, time.monotonic())

    def seconds(self) -> float:
        """Spent on the run so far, earlier parts included."""
        return round(time.monotonic() - self._began, 3)

    def rate(self, step: int) -> float | None:
        """Images per second since the last call of this."""
        before, self._mark = self._mark, (step, time.monotonic())
        if step == before[0]:
            return None
        return (step - before[0]) * self._batch_size / (self._mark[1] - before[1])

    def line(self, step: int, values: dict[str, float]) -> str:
        """What a person watching sees."""
        parts = [f"step {step:>7,}/{self._last:,}", f"loss {values['loss']:.4f}"]
        terms = [name for name in values if name.startswith("loss/")]
        if len(terms) > 1:
            parts += [f"{name[5:]} {values[name]:.4f}" for name in terms]
        if "images_per_second" in values and self.first is not None:
            left = (time.monotonic() - self.first[1]) / (step - self.first[0]) * (self._last - step)
            parts += [f"{values['images_per_second']:,.0f} images/s", f"{duration(left)} left"]
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """How long, for a person.

    >>> duration(42), duration(192), duration(7_500)
    ('42 s', '3 min 12 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


Item = TypeVar("Item")


def progress(items: Iterator[Item], total: int, what: str, where: Path | str) -> Iterator[Item]:
    """The items, and every 10 seconds a line about how many are done."""
    began = said = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - said > 10:
            said, rate = now, done / (now - began)
            print(
                f"{where}: {done:,} of {total:,} {what}, {rate:,.0f}/s, {duration((total - done) / rate)} left",
                flush=True,
            )
        yield item
