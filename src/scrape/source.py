"""What a source hands the stage: pieces of work, each done once even over a kill."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from src.core.ledger import Drop
from src.core.records import Record


class Piece(NamedTuple):
    """A file, book or page: its name, and what reads it into records and drops."""

    name: str
    make: Callable[[], Iterable[Record | Drop]]


class Reads(Protocol):
    """What every source does."""

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield pieces in a fixed order, and a drop for what makes none.

        Args:
            work: A folder of the source's own for unfinished work; it lives until the stage is done.
            cache: The folder of what was fetched, shared by all sources and runs.
        """
