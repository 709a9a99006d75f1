"""The ledger: every row a stage read is kept or dropped, and what is dropped is written down with its reason."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from src.core.files import json_line

DROPPED = "dropped.jsonl"


@dataclass(frozen=True, slots=True)
class Drop:
    """A row that goes no further."""

    id: str
    reason: str
    """A short fixed word such as `duplicate`, by which drops are counted."""
    detail: str = ""
    """What about this row, in words: the other row's id, the column of the JSON error."""
    row: dict[str, Any] | None = None
    """The row itself, as far as it could be read."""


class Ledger:
    """Counts read, kept and dropped rows, and writes the dropped ones to `dropped.jsonl` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DROPPED
        self.read = 0
        self.kept = 0
        self.reasons: Counter[str] = Counter()
        self._part = folder / f".{DROPPED}.part"
        self._stream: IO[bytes] | None = None

    @property
    def dropped(self) -> int:
        """How many rows went no further."""
        return sum(self.reasons.values())

    def keep(self, count: int = 1) -> None:
        """Account for `count` rows that were read and kept."""
        self.read += count
        self.kept += count

    def drop(self, row: Drop) -> None:
        """Account for one row that was read and dropped, and write it down."""
        self.read += 1
        self.reasons[row.reason] += 1
        if self._stream is None:
            self._stream = self._part.open("wb")
        self._stream.write(json_line({"id": row.id, "reason": row.reason, "detail": row.detail, "row": row.row}))

    def counts(self) -> dict[str, Any]:
        """Read, kept and dropped, and the drops by reason, most frequent first."""
        reasons = dict(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0])))
        return {"read": self.read, "kept": self.kept, "dropped": self.dropped, "reasons": reasons}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Put the dropped rows in place; they are kept even where the stage failed, to be looked at."""
        if self._stream is not None:
            self._stream.close()
            self._part.replace(self.path)
        elif kind is None:
            self.path.unlink(missing_ok=True)
