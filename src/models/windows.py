"""What becomes of a conversation that is too long: dropped, parted at its turns, or its earlier turns left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from src.models.conversation import Fault

Policy = Literal["drop", "split", "truncate"]
Message = Mapping[str, Any]
Measure = Callable[[Sequence[Message]], int | Fault]
"""Counts the tokens of a conversation, or says why it has none."""


@dataclass(frozen=True, slots=True)
class Window:
    """Messages that make a conversation of their own, or what is lost of it."""

    messages: tuple[Message, ...]
    number: int
    """Its place among the windows of the conversation, from one."""
    fault: Fault | None = None
    """Why it is lost."""


def windows(messages: Sequence[Message], *, limit: int, policy: Policy, measure: Measure) -> list[Window]:
    """Bring a conversation under `limit` tokens; whole turns stay or go, no text is cut.

    `split` makes as few conversations of it as may be, each from a user's message to an answer, with the system prompt
    repeated. `truncate` keeps as many of the last exchanges as there is room for. An exchange that is too long by itself
    ends at the last of its answers and calls that there is room for; what is over is lost, and comes back with a fault.
    """
    head, exchanges = parted(messages)
    if policy == "drop" or not exchanges:
        return [Window(tuple(messages), 1, Fault("too_long", f"over {limit} tokens"))]
    fits = _Fits(head, limit, measure)
    found = _split(exchanges, fits) if policy == "split" else _last(exchanges, fits)
    return [Window((*head, *kept), number, fault) for number, (kept, fault) in enumerate(found, 1)]


def parted(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """The system prompt, and the exchanges: each begins where a user speaks after an answer."""
    head = [message for message in messages[:1] if message["role"] == "system"]
    exchanges: list[list[Message]] = []
    for message in messages[len(head) :]:
        if not exchanges or (message["role"] == "user" and any(each["role"] == "assistant" for each in exchanges[-1])):
            exchanges.append([])
        exchanges[-1].append(message)
    return head, exchanges


@dataclass(frozen=True, slots=True)
class _Fits:
    head: Sequence[Message]
    limit: int
    measure: Measure

    def __call__(self, messages: Sequence[Message]) -> bool:
        count = self.measure([*self.head, *messages])
        return not isinstance(count, Fault) and count <= self.limit

    def first_part(self, exchange: Sequence[Message]) -> int:
        """How many messages of an exchange fit, up to an answer or call of the assistant's."""
        ends = [place + 1 for place, message in enumerate(exchange) if message["role"] == "assistant"]
        return next((end for end in reversed(ends) if self(exchange[:end])), 0)


_Part = tuple[list[Message], Fault | None]


def _split(exchanges: list[list[Message]], fits: _Fits) -> Iterator[_Part]:
    room: list[Message] = []
    for exchange in exchanges:
        if fits([*room, *exchange]):
            room += exchange
            continue
        if room:
            yield room, None
        room = exchange if fits(exchange) else []
        if not room:
            yield from _shortened(exchange, fits)
    if room:
        yield room, None


def _last(exchanges: list[list[Message]], fits: _Fits) -> Iterator[_Part]:
    for first in range(1, len(exchanges)):
        kept = [message for exchange in exchanges[first:] for message in exchange]
        if fits(kept):
            yield kept, None
            return
    count = fits.first_part(exchanges[-1])
    if count:
        yield exchanges[-1][:count], None
    else:
        yield (
            exchanges[-1],
            Fault("nothing_left", f"the last exchange alone is over {fits.limit} tokens, and no part of it ends with an answer"),
        )


def _shortened(exchange: list[Message], fits: _Fits) -> Iterator[_Part]:
    count = fits.first_part(exchange)
    if count:
        yield exchange[:count], None
    what = f"{len(exchange) - count} of {len(exchange)} messages of one exchange"
    yield exchange[count:] if count else exchange, Fault("too_long", f"{what}, over {fits.limit} tokens with what they follow")
