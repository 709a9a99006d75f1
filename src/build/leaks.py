"""Rows that say the same in two splits: they go from training, so that a test shows what was learned and not remembered."""

from collections.abc import Iterable, Iterator
from typing import Any

from src.build.candidate import Candidate
from src.build.split import SPLITS, TEST, VALIDATION
from src.core.files import digest, to_json
from src.core.ledger import Drop
from src.text.normalise import normalise

_TELLING = 12  # words from which an answer counts as one of its own: "I don't know." may stand in any split


def parted(candidates: Iterable[Candidate]) -> Iterator[Candidate | Drop]:
    """Pass on what is in one split only, test first.

    Dropped are `duplicate` rows (the same messages and tools in the same split) and those that `leaks_into_test` or
    `leaks_into_validation`: the same requests, or the same answer of some length, but for typography. A source that
    decides about splits itself is trusted to keep them apart.
    """
    rows = list(candidates)
    held: dict[str, str] = {}
    seen: dict[str, str] = {}
    for split in reversed(SPLITS):
        for row in rows:
            if row.split != split:
                continue
            name, marks = row.example["id"], [] if row.decided else list(_marks(row.example["messages"]))
            same = _digest(row)
            other = next((held[mark] for mark in marks if mark in held), "")
            if other and held_split(other) != split:
                yield Drop(name, f"leaks_into_{held_split(other)}", other.partition("\x1f")[2], dict(row.example))
            elif same in seen:
                yield Drop(name, "duplicate", seen[same], dict(row.example))
            else:
                seen[same] = name
                if split in (TEST, VALIDATION):
                    held |= {mark: held.get(mark, f"{split}\x1f{name}") for mark in marks}
                yield row


def held_split(mark: str) -> str:
    """The split of a row held out."""
    return mark.partition("\x1f")[0]


def _digest(row: Candidate) -> str:
    return digest([to_json(row.example["messages"]), to_json(row.example["tools"])])


def _marks(messages: list[dict[str, Any]]) -> Iterator[str]:
    asked = [message["content"] for message in messages if message["role"] == "user" and message["content"]]
    yield digest(["asked", normalise("\n".join(asked))])
    for message in messages:
        text = normalise(message.get("content") or "") if message["role"] == "assistant" else ""
        if len(text.split()) >= _TELLING:
            yield digest(["answered", text])
