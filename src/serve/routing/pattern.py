"""Regular expressions that no text can make slow: Rust's engine, whose time grows with the text and never beyond."""

import re
from collections.abc import Iterable
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

LONGEST = 1000
"""Characters that a pattern may have."""
_READ = 10_000  # characters of a text's beginning, and as many of its end, that are looked at


class Pattern:
    """A regular expression in Rust's syntax: no look-around, no backreferences, `(?i)` for any case.

    Raises:
        ValueError: Where it is none, or too large.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"a regex may have {LONGEST} characters, this one has {len(text):,}")
        self._engine = _engine(text)

    @classmethod
    def of_words(cls, words: Iterable[str]) -> "Pattern":
        """Finds any of these words or phrases, in any case, where it is no part of a longer word."""
        made = cls.__new__(cls)
        made._engine = _engine(rf"(?i)(?:^|\W)(?:{'|'.join(map(re.escape, words))})(?:\W|$)")
        return made

    def found_in(self, text: str) -> bool:
        """Whether the text has it, in its first or last 10,000 characters where it is longer than both."""
        return self._engine.isinstance_python(text if len(text) <= 2 * _READ else f"{text[:_READ]}\n{text[-_READ:]}")


@lru_cache(512)
def _engine(text: str) -> SchemaValidator:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=text, regex_engine="rust-regex"))
    except SchemaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"{text[:60]!r} is no regex: {lines[-1].removeprefix('error: ')}") from None
