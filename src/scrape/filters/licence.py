"""The filter `licence`: only texts that may be used."""

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record


class LicenceFilter(Config):
    """Keeps texts whose `licence` is on the list; drops as `licence`, or `no_licence` where none is stated."""

    type: Literal["licence"] = "licence"
    allow: tuple[str, ...] = Field(min_length=1)
    """Licences that are fine, in any case; `*` stands for anything: `CC BY 4.0`, `CC0*`, `Public domain*`."""
    unstated: Literal["drop", "keep"] = "drop"
    """What happens to a text that states none."""

    def apply(self, record: Record) -> Record | Drop:
        """Return the record, or why it goes."""
        licence = " ".join(str(record.meta.get("licence") or "").split())
        if not licence:
            return record if self.unstated == "keep" else Drop(record.id, "no_licence", "none is stated", record.as_row())
        if any(fnmatchcase(licence.casefold(), each.casefold()) for each in self.allow):
            return record
        return Drop(record.id, "licence", licence, record.as_row())
