"""What a source hands the stage: pieces of work, each done once even over a kill."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from src.core.ledger import Drop
from src.core.records import Record


class Piece(NamedTuple):
    """A file, book or page: its name, and what reads it into records and drops."""

    name: str
    make: Callable[[], Iterable[Record | Drop]]
