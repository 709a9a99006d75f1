"""The filter `regex`: a pattern of one's own."""

import re
from functools import lru_cache
from typing import Literal

from pydantic import Field, field_validator

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record

_SHOWN = 80


class RegexFilter(Config):
    """Drops texts that match a pattern, or with `keep: matching` those that do not, as `regex` or the reason given."""

    type: Literal["regex"] = "regex"
    pattern: str
    """A regular expression of Python, looked for anywhere; `(?i)` at its start for any case."""
    keep: Literal["matching", "others"] = "others"
    """Which texts stay."""
    field: str = "text"
    """What is looked at: `text`, `id`, or a key of meta such as `url`."""
    reason: str = Field(default="regex", pattern="^[a-z][a-z0-9_]*$")
    """The word by which the drops are counted."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value

    def apply(self, record: Record) -> Record | Drop:
        """Return the record, or why it goes."""
        value = {"text": record.text, "id": record.id}.get(self.field, record.meta.get(self.field))
        found = _compiled(self.pattern).search("" if value is None else str(value))
        if bool(found) == (self.keep == "matching"):
            return record
        detail = f"{found[0][:_SHOWN]!r} in {self.field}" if found else f"{self.field} does not match {self.pattern}"[:200]
        return Drop(record.id, self.reason, detail, record.as_row())


@lru_cache(64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
