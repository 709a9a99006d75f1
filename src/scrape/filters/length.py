"""The filter `length`: texts of a length that is of use."""

from typing import Literal

from pydantic import Field

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record


class LengthFilter(Config):
    """Keeps texts of so many words and characters; drops as `too_short` or `too_long`."""

    type: Literal["length"] = "length"
    min_words: int = Field(default=0, ge=0)
    """Fewest words, parted by white space."""
    max_words: int | None = Field(default=None, ge=1)
    """Most words."""
    min_chars: int = Field(default=0, ge=0)
    """Fewest characters."""
    max_chars: int | None = Field(default=None, ge=1)
    """Most characters."""

    def apply(self, record: Record) -> Record | Drop:
        """Return the record, or why it goes."""
        for unit, count, least, most in (
            ("characters", len(record.text), self.min_chars, self.max_chars),
            ("words", len(record.text.split()), self.min_words, self.max_words),
        ):
            if count < least:
                return Drop(record.id, "too_short", f"{count} {unit}, fewer than {least}", record.as_row())
            if most is not None and count > most:
                return Drop(record.id, "too_long", f"{count} {unit}, more than {most}", record.as_row())
        return record
