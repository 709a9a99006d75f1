"""What a source hands to the build: an example that is still to be checked and given to a split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from src.core.records import Example

Measure = Callable[[Sequence[str]], list[int]]
"""Counts the tokens of texts, exactly or by an estimate."""


@dataclass(slots=True)
class Candidate:
    """An example, and what decides about its split."""

    example: Example
    key: str
    """The document it comes from: examples of one key share a split."""
    split: str | None = None
    """The split it is in."""
    decided: bool = False
    """Whether its source has decided about the split."""
    tokens: int = 0
    """Tokens of the whole, once counted."""
    trained: int = 0
    """Tokens learned, once counted."""
    alike: int | None = None
    """Number of the group of near-duplicates it is in, where it has a like."""
    rejected: list[dict[str, Any]] | None = None
    """The answer that is to become less likely than the example's own last turn; makes the row a preference."""
    chosen: int = 1
    """How many of the last messages are the answer that is preferred to the rejected one."""
    source: str = ""
    """What the config calls its source."""
    licence: str | None = None
    """Under which terms it may be used, where that is known."""
    repeat: int = 0
    """How many times it stands in the split already: the mix may show a row more than once."""

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """The messages of a preference that both answers follow."""
        return self.example["messages"][: -self.chosen]

    @property
    def said(self) -> list[str]:
        """What user and assistant say in it, turn by turn; of a row with a class, which is no speech, only the text."""
        turns = [*self.example["messages"], *(self.rejected or ())]
        classed = self.example["label"] is not None and turns[-1].get("content") == self.example["label"]
        speakers = ("user",) if classed else ("user", "assistant")
        return [message["content"] for message in turns if message["role"] in speakers and message.get("content")]
