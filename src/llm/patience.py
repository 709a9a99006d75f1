"""When a call that failed is made again: as the server asks, else ever later and never all at once."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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
