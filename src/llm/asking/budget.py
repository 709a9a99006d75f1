"""Money: what calls cost, and that no call begins which the budget may not cover."""

import asyncio
from typing import Annotated

from pydantic import Field

from src.core.config import Config
from src.core.errors import MlxError
from src.llm.client import Usage


class Price(Config):
    """What a million tokens cost."""

    input: Annotated[float, Field(ge=0)]
    """A million tokens of what is asked."""
    output: Annotated[float, Field(ge=0)]
    """A million tokens of what is answered."""

    def of(self, usage: Usage) -> float:
        """Cost of a call."""
        return (usage.prompt * self.input + usage.completion * self.output) / 1e6


class BudgetSpent(MlxError):  # noqa: N818 (a stop, not a fault)
    """The next call may cost more than is left."""


class Purse:
    """Holds the budget of a run and of those before it that were cut short."""

    def __init__(self, limit: float | None, price: Price | None, *, spent: float = 0.0) -> None:
        self.limit = limit
        self.price = price
        self.spent = spent
        self._held = 0.0
        self.begin()

    def begin(self) -> None:
        """Make ready for another loop."""
        self._freed = asyncio.Event()

    async def hold(self, usage: Usage) -> float:
        """Put the most that a call may cost aside; where that is more than is left, wait for calls under way to give back what they held.

        Raises:
            BudgetSpent: Where none is under way.
        """
        cost = self.price.of(usage) if self.price else 0.0
        while self.limit is not None and self.spent + self._held + cost > self.limit:
            if not self._held:
                raise BudgetSpent(
                    f"the budget of {self.limit:g} is used up: {self.spent:.4f} spent, and the next call may cost {cost:.4f}",
                    "raise label.budget and run again: answers so far are kept, and it goes on from there",
                )
            self._freed.clear()
            await self._freed.wait()
        self._held += cost
        return cost

    def pay(self, held: float, usage: Usage | None) -> float:
        """Give back what was held for a call, and take what it cost; None where it failed."""
        cost = self.price.of(usage) if self.price and usage else 0.0
        self._held = max(0.0, self._held - held) if self._held - held > 1e-12 else 0.0
        self.spent += cost
        self._freed.set()
        return cost
