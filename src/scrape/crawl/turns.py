"""Whose turn it is: no host is asked more often, or by more connections, than it is to be."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protego import Protego


@dataclass(slots=True)
class Host:
    """What is known of a host while the crawl runs."""

    name: str
    delay: float
    """Seconds from one request to the next."""
    next_at: float = 0.0
    """When the delay since its last request is over."""
    paused_until: float = 0.0
    """When the patience that it asked for is over."""
    active: int = 0
    depths: Counter[int] = field(default_factory=Counter)
    """How many of its requests are on their way, by depth."""
    due: float | None = None
    """When its turn comes, if it waits for one."""
    robots: "Protego | None" = None
    blocked: str | None = None

    @property
    def ceiling(self) -> int | None:
        """The lowest depth still on its way: nothing deeper starts before it is done, so that the order is always the same."""
        return min((depth for depth, number in self.depths.items() if number), default=None)


class Turns:
    """The hosts, and the order in which they may be asked. All times in seconds of one clock."""

    def __init__(self, *, delay: float, concurrency: int) -> None:
        self.delay = delay
        self.concurrency = concurrency
        self.hosts: dict[str, Host] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._order = count()

    def host(self, name: str) -> Host:
        """The host of this name."""
        if name not in self.hosts:
            self.hosts[name] = Host(name, self.delay)
        return self.hosts[name]

    def wait(self, host: Host, at: float) -> None:
        """Queue a host that has something to ask for, at the time given or as soon after as it may be asked."""
        at = max(at, host.next_at, host.paused_until)
        if host.active >= self.concurrency or (host.due is not None and host.due <= at):
            return
        host.due = at
        heapq.heappush(self._heap, (at, next(self._order), host.name))

    def pop(self, now: float) -> Host | None:
        """The host whose turn it is, out of the queue."""
        self._forget_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        host = self.hosts[heapq.heappop(self._heap)[2]]
        host.due = None
        return self._unless_early(host, now)

    def next_due(self) -> float | None:
        """When the next turn comes; None where nobody waits."""
        self._forget_stale()
        return self._heap[0][0] if self._heap else None

    def begin(self, host: Host, depth: int, now: float) -> None:
        """A request of this host goes out."""
        host.active += 1
        host.depths[depth] += 1
        host.next_at = max(host.next_at, now + host.delay)

    def end(self, host: Host, depth: int) -> None:
        """A request of this host has been dealt with."""
        host.active -= 1
        host.depths[depth] -= 1

    def pause(self, host: Host, until: float) -> None:
        """Leave a host alone for a while."""
        host.paused_until = max(host.paused_until, until)

    def _unless_early(self, host: Host, now: float) -> Host | None:
        """The host, unless a pause came after it queued."""
        if max(host.next_at, host.paused_until) <= now:
            return host
        self.wait(host, now)
        return self.pop(now)

    def _forget_stale(self) -> None:
        while self._heap and self.hosts[self._heap[0][2]].due != self._heap[0][0]:
            heapq.heappop(self._heap)
