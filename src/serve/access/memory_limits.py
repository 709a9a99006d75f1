"""Limits counted in the server's process. Nothing here awaits between a check and its count, so both are one step."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from src.serve.access.caller import Caller
from src.serve.access.limits import COUNTED, DAY, MINUTE, Standing, fits, limited

SLOT = 0.05  # seconds of requests that are counted as one
IDLE = 10_000  # callers, above which those without a count are forgotten


@dataclass(slots=True)
class _Slot:
    """What requests of nearly the same time put aside, as if all had come with the last of them: never too little is counted."""

    began: float
    then: float
    tokens: int = 0
    over: bool = False


@dataclass(slots=True)
class _Book:
    inside: set[str] = field(default_factory=set)
    requests: deque[float] = field(default_factory=deque)
    slots: deque[_Slot] = field(default_factory=deque)
    """Tokens of the last minute, oldest first."""
    minute: int = 0
    day: int = 0
    spent: int = 0

    def tidy(self, now: float) -> None:
        """Forget what lies over a minute back, and yesterday."""
        while self.requests and self.requests[0] <= now - MINUTE:
            self.requests.popleft()
        while self.slots and self.slots[0].then <= now - MINUTE:
            gone = self.slots.popleft()
            gone.over = True
            self.minute -= gone.tokens
        if self.day != int(now // DAY):
            self.day, self.spent = int(now // DAY), 0

    def slot(self, now: float) -> _Slot:
        """Where tokens that are put aside now are counted."""
        if not self.slots or now - self.slots[-1].began > SLOT:
            self.slots.append(_Slot(now, now))
        self.slots[-1].then = now
        return self.slots[-1]


class InMemory:
    """Exact counts: any 60 seconds hold at most a minute's worth."""

    at_once = True

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._books: dict[str, _Book] = {}
        self._reserved: dict[str, tuple[int, int, _Slot]] = {}
        """By ticket: the day, the tokens put aside, and where they are counted."""

    async def enter(self, caller: Caller, ticket: str) -> None:
        """Count a request."""
        now, role = self._clock(), caller.role
        book = self._book(caller.id, now)
        if role.concurrent is not None and len(book.inside) >= role.concurrent:
            raise limited("concurrent", role.concurrent, 1)
        if role.requests_per_minute is not None:
            if len(book.requests) >= role.requests_per_minute:
                raise limited("requests", role.requests_per_minute, book.requests[-role.requests_per_minute] + MINUTE - now)
            book.requests.append(now)
        book.inside.add(ticket)

    async def reserve(self, caller: Caller, ticket: str, tokens: int) -> None:
        """Put tokens aside."""
        fits(caller, tokens)
        now, role = self._clock(), caller.role
        book = self._book(caller.id, now)
        if role.tokens_per_minute is not None and book.minute + tokens > role.tokens_per_minute:
            raise limited("tokens", role.tokens_per_minute, _room(book, book.minute + tokens - role.tokens_per_minute) + MINUTE - now)
        if role.tokens_per_day is not None and book.spent + tokens > role.tokens_per_day:
            raise limited("day", role.tokens_per_day, DAY - now % DAY)
        slot = book.slot(now)
        slot.tokens += tokens
        book.minute += tokens
        book.spent += tokens
        self._reserved[ticket] = (book.day, tokens, slot)

    async def leave(self, caller: Caller, ticket: str, used: int | None) -> None:
        """Count what was used in place of what was put aside."""
        book = self._book(caller.id, self._clock())
        book.inside.discard(ticket)
        if ticket not in self._reserved:
            return
        day, reserved, slot = self._reserved.pop(ticket)
        back = reserved - (used or 0)
        if not slot.over:
            slot.tokens -= back
            book.minute -= back
        if day == book.day:
            book.spent -= back

    async def standing(self, caller: Caller) -> Standing:
        """What a caller has used."""
        book = self._book(caller.id, self._clock())
        counts = (len(book.requests), book.minute, book.spent, len(book.inside))
        return dict(zip(COUNTED, counts, strict=True))

    async def close(self) -> None:
        """Nothing to end."""

    def _book(self, number: str, now: float) -> _Book:
        if number not in self._books and len(self._books) >= IDLE:
            for each in self._books.values():
                each.tidy(now)
            self._books = {key: each for key, each in self._books.items() if each.inside or each.requests or each.spent}
        book = self._books.setdefault(number, _Book())
        book.tidy(now)
        return book


def _room(book: _Book, wanted: int) -> float:
    """When the entry was made whose end makes room for `wanted` tokens."""
    when = 0.0
    for slot in book.slots:
        when = slot.then
        wanted -= slot.tokens
        if wanted <= 0:
            break
    return when
