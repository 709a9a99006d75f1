"""Keep calls under a declared rate: as many requests and tokens a minute as are allowed, hardly fewer and never more."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

SHARE = 0.975
"""Of the limit that is used: the clocks of two machines, and the way between them, are not exact."""
BURST = 0.01
"""Share of a minute's allowance that may be caught up on after a delay; with `SHARE` no minute holds more than the limit."""
STRIKES = 3
"""Calls turned away one after another before all calls pause; a single one only delays itself."""

_TICK = 1e-6
"""Seconds too short to be slept: a clock need not move in them."""


class Bucket:
    """A token bucket: fills at an even rate up to a brim, and a call waits until it holds what the call takes."""

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self.rate = per_minute * SHARE / 60
        self.brim = max(1.0, per_minute * BURST)
        self.clock = clock
        self.level = 1.0
        self.at = clock()

    def wait(self, amount: float) -> float:
        """Seconds until it holds `amount`, which may be more than its brim: then a full one has to do, and debts follow."""
        now = self.clock()
        self.level = min(self.brim, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, min(amount, self.brim) - self.level) / self.rate

    def take(self, amount: float) -> None:
        """Take `amount` out; less than nothing puts it back."""
        self.level -= amount


class Limits:
    """Lets calls pass in the order they come, each when the rates allow it."""

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start with no allowance saved up; None stands for no limit."""
        self.clock = clock
        self.sleep = sleep
        self.requests = Bucket(requests_per_minute, clock) if requests_per_minute else None
        self.tokens = Bucket(tokens_per_minute, clock) if tokens_per_minute else None
        self._queue = asyncio.Lock()
        self._not_before = clock()
        self._strikes = 0

    async def admit(self, tokens: float) -> None:
        """Wait for the turn of a call that takes `tokens`, prompt and answer together, as far as one can tell."""
        async with self._queue:
            while (seconds := self._wait(tokens)) > _TICK:
                await self.sleep(seconds)
            if self.requests:
                self.requests.take(1)
            if self.tokens:
                self.tokens.take(tokens)

    def _wait(self, tokens: float) -> float:
        waits = [self._not_before - self.clock()]
        if self.requests:
            waits.append(self.requests.wait(1))
        if self.tokens:
            waits.append(self.tokens.wait(tokens))
        return max(waits)

    def settle(self, *, expected: float, used: float) -> None:
        """Put right what was taken, once a call's true tokens are known."""
        self._strikes = 0
        if self.tokens:
            self.tokens.take(used - expected)

    def refund(self, tokens: float) -> None:
        """Give back the tokens of a call that failed; the request counts all the same."""
        if self.tokens:
            self.tokens.take(-tokens)

    def turned_away(self, seconds: float) -> None:
        """Take note that the server wants fewer calls: several in a row hold up all of them."""
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._not_before = max(self._not_before, self.clock() + seconds)
