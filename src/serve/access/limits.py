"""What limits have in common, wherever they are counted: the refusals, and the settings they are asked with."""

from typing import Protocol

from src.serve.access.caller import Caller
from src.serve.request import RequestError

MINUTE = 60.0
DAY = 86400


COUNTED = ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "concurrent")
"""The limits of a role, by the names of its settings."""
Standing = dict[str, int]
"""How much of each is used now; what has no limit may not be counted."""


class Limits(Protocol):
    """Counts requests and tokens of each caller; a count and its check are one step, so that none slips between them."""

    at_once: bool
    """Whether nothing in it waits for anything outside."""

    async def enter(self, caller: Caller, ticket: str) -> None:
        """Count a request and hold its place; raises a RequestError (429) where there is no room."""

    async def reserve(self, caller: Caller, ticket: str, tokens: int) -> None:
        """Put tokens aside, as many as the request may need at most; raises a RequestError (429) where they are not there."""

    async def leave(self, caller: Caller, ticket: str, used: int | None) -> None:
        """Give the place back, and what was put aside and not used; None used nothing of it."""

    async def standing(self, caller: Caller) -> Standing:
        """What of its limits a caller has used."""

    async def close(self) -> None:
        """End."""


def limited(what: str, limit: int, wait: float) -> RequestError:
    """The refusal of a request that is one too many; `wait` is in seconds."""
    seconds = max(1, int(wait) + (wait > int(wait)))
    words = {
        "requests": f"{limit} requests a minute",
        "concurrent": f"{limit} requests at once",
        "tokens": f"{limit} tokens a minute",
        "day": f"{limit} tokens a day",
    }[what]
    code = "rate_limit_exceeded" if what != "day" else "insufficient_quota"
    return RequestError(
        429,
        f"this key may have {words}; try again in {seconds} s",
        kind="tokens" if what in ("tokens", "day") else "requests",
        code=code,
        headers={"retry-after": str(seconds)},
    )


def fits(caller: Caller, tokens: int) -> None:
    """Refuse what no waiting would make room for.

    Raises:
        RequestError: 400, where the request may need more than the whole budget.
    """
    for limit, words in ((caller.role.tokens_per_minute, "a minute"), (caller.role.tokens_per_day, "a day")):
        if limit is not None and tokens > limit:
            raise RequestError(
                400,
                f"the request may need {tokens} tokens, and this key has {limit} {words}: send less, or set max_tokens",
                code="tokens_over_budget",
                param="max_tokens",
            )
