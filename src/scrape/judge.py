"""Judging each record as it comes in: long enough, in a language that is wanted."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from src.core.ledger import Drop
from src.core.records import Record
from src.text.encoding import mended
from src.text.language import UNKNOWN, base, detect

_CODE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class Judge:
    """What a record has to be."""

    languages: tuple[str, ...]
    confidence: float
    """How sure a detected language has to be to count."""
    min_words: int

    def judged(self, items: Iterable[Record | Drop]) -> Iterator[Record | Drop]:
        """Pass drops on, and each record with its language noted, or dropped."""
        for item in items:
            yield item if isinstance(item, Drop) else self._judge(item)

    def _judge(self, record: Record) -> Record | Drop:
        text = mended(record.text)
        if (count := len(text.split())) < self.min_words:
            return Drop(record.id, "too_short", f"{count} words, fewer than {self.min_words}", record.as_row())
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
