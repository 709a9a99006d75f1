"""The line of requests that wait for a model, in the order in which they came."""

import asyncio
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Ticket:
    """A request that waits."""

    name: str
    arrived: float
    turn: "asyncio.Future[None]"
    admitted: bool = False


class Waiting:
    """Who waits, and for which model."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []

    def join(self, name: str, now: float) -> Ticket:
        """Wait for a model, behind all others."""
        ticket = Ticket(name, now, asyncio.get_running_loop().create_future())
        self._tickets.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> bool:
        """Wait no longer; whether it still did."""
        waits = ticket in self._tickets
        if waits:
            self._tickets.remove(ticket)
        return waits

    def call(self, name: str) -> list[Ticket]:
        """All that wait for a model: they do no longer, and those that have gone are not among them."""
        called = [ticket for ticket in self._tickets if ticket.name == name]
        self._tickets = [ticket for ticket in self._tickets if ticket.name != name]
        return [ticket for ticket in called if not ticket.turn.done()]

    @property
    def names(self) -> list[str]:
        """The models that are waited for, the longest first."""
        return list(dict.fromkeys(ticket.name for ticket in self._tickets))

    def since(self, name: str) -> float:
        """When the first of those that wait for a model came."""
        return next(ticket.arrived for ticket in self._tickets if ticket.name == name)

    def count(self, name: str) -> int:
        """How many wait for a model."""
        return sum(ticket.name == name for ticket in self._tickets)
