"""Throughput and remaining time of long tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, TypeVar


class Clock:
    """The clock of a training run: throughput, elapsed time, and remaining time.

    Throughput excludes the first call, which compiles.
    """

    def __init__(self, before: float, last: int, batch_size: int):
        """Starts the clock.

        Args:
          before: seconds spent by earlier parts of a resumed run.
          last: last step of the run.
          batch_size: images per step.
        """
        self._began = time.monotonic() - before
        self._last, self._batch_size = last, batch_size
        self.first: tuple[int, float] | None = None
        self._mark = (0, 0.0)

    def start(self, step: int) -> None:
        """Starts to measure throughput, at the end of the first call."""
        self.first = self._mark = (step, time.monotonic())

    def restart(self, step: int) -> None:
        """Excludes the time since the last line from the throughput, because it was not spent on training."""
        self._mark = (step, time.monotonic())

    def seconds(self) -> float:
        """Returns the seconds spent on the run, including its earlier parts."""
        return round(time.monotonic() - self._began, 3)

    def rate(self, step: int) -> float | None:
        """Returns the images per second since the previous call of `rate`; None if no step was done."""
        before, self._mark = self._mark, (step, time.monotonic())
        if step == before[0]:
            return None
        return (step - before[0]) * self._batch_size / (self._mark[1] - before[1])

    def line(self, step: int, values: dict[str, float]) -> str:
        """Returns the log line of a step; averages may be missing if all steps were skipped."""
        parts = [f"step {step:>7,}/{self._last:,}"]
        if "loss" in values:
            parts.append(f"loss {values['loss']:.4f}")
        terms = [name for name in values if name.startswith("loss/")]
        if len(terms) > 1:
            parts += [f"{name[5:]} {values[name]:.4f}" for name in terms]
        if "skipped_steps" in values:
            parts.append(f"{values['skipped_steps']} steps skipped, not finite")
        if "images_per_second" in values and self.first is not None:
            left = (time.monotonic() - self.first[1]) / (step - self.first[0]) * (self._last - step)
            parts += [f"{values['images_per_second']:,.0f} images/s", f"{duration(left)} left"]
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Returns a duration as text for messages.

    >>> duration(42), duration(192), duration(7_500)
    ('42 s', '3 min 12 s', '2 h 05 min')
    """
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02} min"


Item = TypeVar("Item")


def progress(
    items: Iterator[Item], total: int, what: str, where: Path | str, file: TextIO | None = None
) -> Iterator[Item]:
    """Yields the items, and prints every 10 seconds how many of `total` are done, on `file` or standard output."""
    began = printed = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - printed > 10:
            printed, rate = now, done / (now - began)
            print(
                f"{where}: {done:,} of {total:,} {what}, {rate:,.{0 if rate >= 10 else 1}f}/s, "
                f"{duration((total - done) / rate)} left",
                file=file,
                flush=True,
            )
        yield item
