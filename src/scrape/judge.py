"""Judging each record as it comes in: cleaned, long enough, in a language that is wanted, past every filter."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.filters import Filter
from src.text.clean import Clean
from src.text.encoding import mended
from src.text.language import UNKNOWN, base, detect

_CODE = re.compile(r"[a-z]{2,3}")
TOOL = "tool"
"""Key of meta that marks a record as an answer of a tool: data, not prose, that no rule for prose applies to."""


@dataclass(frozen=True)
class Judge:
    """What a record has to be."""

    languages: tuple[str, ...] = ()
    confidence: float = 0.7
    """How sure a detected language has to be to count."""
    min_words: int = 1
    clean: Clean | None = None
    filters: tuple[Filter, ...] = ()

    def judged(self, items: Iterable[Record | Drop]) -> Iterator[Record | Drop]:
        """Pass drops on, and each record cleaned, with its language noted, or dropped."""
        for item in items:
            yield item if isinstance(item, Drop) or TOOL in item.meta else self.judge(item)

    def judge(self, record: Record) -> Record | Drop:
        """Return the record as it is kept, or why it goes; a pure function of the record."""
        text = mended(record.text)
        text = self.clean.apply(text) if self.clean else text
        if (count := len(text.split())) < self.min_words:
            return Drop(record.id, "too_short", f"{count} words, fewer than {self.min_words}", record.as_row())
        if isinstance(found := self._told(record, text), Drop):
            return found
        for each in self.filters:
            found = each.apply(found)
            if isinstance(found, Drop):
                return found
        return found

    def _told(self, record: Record, text: str) -> Record | Drop:
        """The record with its language, or why it goes for it."""
        stated = base(str(record.meta.get("language") or ""))
        stated = stated if _CODE.fullmatch(stated) else ""
        found, score = detect(text)
        sure = found != UNKNOWN and score >= self.confidence
        language = found if sure else stated
        if self.languages and language and language not in self.languages:
            return Drop(record.id, "language", f"{language} {score:.2f}" if sure else f"{language} as stated", _short(record))
        meta = {key: value for key, value in record.meta.items() if key != "language"} | ({"language": language} if language else {})
        return replace(record, text=text, meta=meta)


def _short(record: Record) -> dict[str, object]:
    return replace(record, text=record.text[:1000]).as_row()
