"""The time limit of a series of experiments."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.core.progress import duration


class Budget:
    """Counts the time of a series, and stops its training at a limit."""

    def __init__(self, minutes: float | None = None):
        """Starts to count.

        Args:
          minutes: the limit; None = no limit.

        Raises:
          UserError: the limit is not above 0, or not finite.
        """
        if minutes is not None and not 0 < minutes < math.inf:
            raise UserError(
                f"--budget-minutes = {minutes} is out of range: above 0, and finite. Without it there is no limit."
            )
        self._began = time.monotonic()
        self._seconds = None if minutes is None else minutes * 60

    @contextlib.contextmanager
    def limits(self, stop: Stop) -> Iterator[None]:
        """Sets `stop` when the budget is used up. Its exit status then stays 0, unlike after a signal."""
        if self._seconds is None:
            yield
            return
        timer = threading.Timer(min(self._left(self._seconds), threading.TIMEOUT_MAX), stop.set)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def text(self) -> str:
        """Returns the time used, and what is left of the budget."""
        used = f"{duration(time.monotonic() - self._began)} used"
        return used if self._seconds is None else f"{used}, {duration(self._left(self._seconds))} of the budget left"

    def _left(self, seconds: float) -> float:
        return max(0.0, seconds - (time.monotonic() - self._began))
