"""The filter `pii`: what tells a person is masked, for good."""

from collections import Counter
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record
from src.text.pii import KINDS, Kind, mask

_NAMES = ("source", "url", "licence", "language", "label")


class PiiFilter(Config):
    """Masks e-mail addresses, phones, IPs, cards and IBANs in text and meta, counted in `meta.pii`; drops as `pii` what holds too many."""

    type: Literal["pii"] = "pii"
    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    """What to mask: `email`, `iban`, `card`, `ip`, `phone`."""
    most: int | None = Field(default=None, ge=0)
    """Most of them in a text that stays; more and it is a list of people."""

    def apply(self, record: Record) -> Record | Drop:
        """Return the record masked, or dropped without its text."""
        text, found = mask(record.text, self.kinds)
        counts = Counter(found)
        meta = {key: value if key in _NAMES else self._masked(value, counts) for key, value in record.meta.items()}
        if not counts:
            return record
        if self.most is not None and counts.total() > self.most:
            return Drop(record.id, "pii", ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
        return replace(record, text=text, meta=meta | {"pii": dict(sorted(counts.items()))})

    def _masked(self, value: Any, counts: Counter[str]) -> Any:
        if not isinstance(value, str):
            return value
        text, found = mask(value, self.kinds)
        counts.update(found)
        return text
