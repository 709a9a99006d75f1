"""What happens in a dialogue with tools, before it is put into messages."""

from dataclasses import dataclass
from typing import Any, Literal

Unseen = Literal["", "values", "phrasing", "tool"]
"""What of a scenario training never shows."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool called, and what it gave back."""

    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A request, the calls it takes and the answer, which states only what the results hold."""

    tool: str
    ask: str
    calls: tuple[Call, ...]
    answer: str
    companions: tuple[str, ...] = ()
    """Tools that have to be at hand besides `tool`."""
