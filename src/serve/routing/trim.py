"""Shortens a conversation by whole exchanges, the oldest first, so that what is left still is one."""

from collections.abc import Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]
_STAYS = ("system", "developer")


def cuts(messages: Messages) -> list[list[int]]:
    """The pieces that may be left out, the oldest first, as positions of messages.

    System messages and the user's last turn always stay. Before it a piece is an exchange: a user's turn with all that answers it.
    After it, a piece is an assistant's turn with the results of its tool calls; the last one stays. So a call never loses its result.
    """
    last = max((place for place, each in enumerate(messages) if each.get("role") == "user"), default=-1)
    before = _pieces(messages, range(last), begins=("user",))
    after = _pieces(messages, range(last + 1, len(messages)), begins=("assistant",))
    return before + after[:-1]


def left(messages: Messages, pieces: Sequence[Sequence[int]]) -> list[int]:
    """The positions of the messages that are left once these pieces are out."""
    gone = {place for piece in pieces for place in piece}
    return [place for place in range(len(messages)) if place not in gone]


def _pieces(messages: Messages, places: range, *, begins: tuple[str, ...]) -> list[list[int]]:
    found: list[list[int]] = []
    for place in places:
        role = messages[place].get("role")
        if role in _STAYS:
            continue
        if role in begins or not found:
            found.append([])
        found[-1].append(place)
    return found
