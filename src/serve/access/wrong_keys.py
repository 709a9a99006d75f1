"""Counts wrong keys by address: who sends one after the other is told to wait, and fills no log meanwhile."""

import time
from collections import deque
from collections.abc import Callable

from src.serve.access.limits import MINUTE, limited
from src.serve.request import RequestError

MOST = 10_000  # addresses that are remembered; the longest silent are forgotten first


class WrongKeys:
    """The addresses that wrong keys came from in the last minute.

    A right key passes whatever else its address sends: behind one address may be a whole office, and one old script in it must
    not shut out the others. What is refused here is the answer "wrong" itself, with its line in the audit log.
    """

    def __init__(self, limit: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` is how many pass in any minute; all if None."""
        self._limit = limit
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def count(self, address: str) -> RequestError | None:
        """Count a wrong key; return the refusal where it is one too many."""
        if self._limit is None:
            return None
        now = self._clock()
        times = self._times.pop(address, None) or deque(maxlen=self._limit)
        self._times[address] = times  # the last to be forgotten
        if len(self._times) > MOST:
            del self._times[next(iter(self._times))]
        if len(times) == self._limit and times[0] > now - MINUTE:
            error = limited("requests", self._limit, times[0] + MINUTE - now)
            error.body["error"] |= {"message": "too many wrong keys from this address; try again later", "code": "too_many_wrong_keys"}
            return error
        times.append(now)
        return None
