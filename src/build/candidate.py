"""What a source hands to the build: an example that is still to be checked and given to a split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src.core.records import Example

Measure = Callable[[Sequence[str]], list[int]]
"""Counts the tokens of texts, exactly or by an estimate."""


@dataclass
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
