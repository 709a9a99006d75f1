"""When a call that failed is made again: as the server asks, else ever later and never all at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from src.llm.client import BackendError

T = TypeVar("T")
LONGEST = 600.0
"""Seconds that a server may ask for at most; who wants to wait longer runs again later."""
_FIRST, _LAST = 0.5, 60.0


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read the seconds to wait from `retry-after-ms`, or from `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = headers.get(name) or headers.get(name.title())
        if said is None:
            continue
        try:
            seconds = float(said) / unit
        except ValueError:
            seconds = _until(said, now or datetime.now(UTC))
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _until(date: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return -1.0
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())


def backoff(attempt: int, chance: random.Random) -> float:
    """Seconds before try `attempt` + 1: twice as long each time, a random half of it taken off so that callers do not come in step."""
    return min(_LAST, _FIRST * 2.0**attempt) * chance.uniform(0.5, 1)


def pause(error: BackendError, attempt: int, chance: random.Random) -> float:
    """Seconds to wait after a failed try: what the server asks for, else `backoff`."""
    return backoff(attempt, chance) if error.retry_after is None else error.retry_after


async def patiently(
    call: Callable[[], Awaitable[T]],
    *,
    slots: asyncio.Semaphore,
    max_retries: int,
    chance: random.Random,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Make a call, again where that may help; it holds a slot while it is under way, and none while it waits.

    Raises:
        BackendError: What the last try failed of.
    """
    attempt = 0
    while True:
        async with slots:
            try:
                return await call()
            except BackendError as error:
                seconds = pause(error, attempt, chance)
                if not error.transient or attempt >= max_retries or seconds > LONGEST:
                    raise
        attempt += 1
        await sleep(seconds)
