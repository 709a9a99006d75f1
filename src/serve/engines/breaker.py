"""Leaves a server alone for a while that failed too often, or asked for it."""

import time
from collections.abc import Callable

LONGEST = 600.0
"""Seconds that a server may ask to be left alone at most."""


class Breaker:
    """Counts failures in a row; above a number of them it is open for some seconds, and then one call may try."""

    def __init__(self, failures: int, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Open for `rest` seconds after so many `failures` in a row."""
        self._most, self._rest, self._clock = failures, rest, clock
        self._failed = 0
        self._until = 0.0

    @property
    def waits(self) -> float:
        """Seconds until the server may be asked; 0 where it may be now."""
        return max(0.0, self._until - self._clock()) if self._until else 0.0

    def ask(self) -> float:
        """Like `waits`; where a rest has just ended this call is the one that tries, and others wait for what it finds."""
        waits = self.waits
        if not waits and self._failed >= self._most:
            self._until = self._clock() + self._rest
        return waits

    def succeeded(self) -> None:
        """The server answered."""
        if self._failed or self._until:
            self._failed, self._until = 0, 0.0

    def failed(self, after: float | None = None) -> None:
        """The server did not answer, or asked to be left alone for `after` seconds."""
        self._failed += 1
        if after:
            self._until = max(self._until, self._clock() + min(after, LONGEST))
        if self._failed >= self._most:
            self._until = max(self._until, self._clock() + self._rest)
