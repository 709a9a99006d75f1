"""The filter `boilerplate`: lines that belong to a site and not to its texts."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from pydantic import Field

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record

LONGEST = 200
"""Characters above which a line is no boilerplate."""
_PHRASE = re.compile(
    r"\b(?:(?:accept|allow|reject|manage) (?:all )?cookies|(?:we|this (?:web)?site) uses? cookies|cookie (?:policy|settings|preferences)"
    r"|privacy policy|terms (?:of (?:use|service)|and conditions)|all rights reserved"
    r"|subscribe (?:to|now|for)|sign up (?:for|to) (?:our|the)|newsletter|(?:log|sign) ?in to (?:comment|continue|your)"
    r"|share (?:this|on)\b|follow us|like us on|tweet this|read more|continue reading|skip to (?:main )?content|back to top|click here"
    r"|related (?:articles|posts|stories)|advertisement|sponsored content|loading\.\.\.|enable javascript|leave a (?:reply|comment))",
    re.IGNORECASE,
)
_FURNITURE = 12  # words above which a line that holds such a phrase may well be a sentence


class BoilerplateFilter(Config):
    """Takes out cookie, subscribe and share lines, and lines that many pages of a site have; drops as `boilerplate` where nothing stays."""

    type: Literal["boilerplate"] = "boilerplate"
    phrases: bool = True
    """Take out short lines with phrases of every site, such as `Accept all cookies` (English)."""
    share: float = Field(default=0.3, gt=0, le=1)
    """Share of a site's pages from which on a line is the site's; 1 with `min_pages: 0` lets all stay."""
    min_pages: int = Field(default=5, ge=0)
    """Fewest pages of a site that hold such a line; 0 does not look at other pages."""

    def apply(self, record: Record) -> Record | Drop:
        """Take out the lines that can be told from themselves alone; those of a site need `SiteLines`."""
        return without(record, is_furniture) if self.phrases else record


def is_furniture(line: str) -> bool:
    """Whether a line is short and says what every site says."""
    return len(line) <= LONGEST and len(line.split()) <= _FURNITURE and bool(_PHRASE.search(line))


def without(record: Record, unwanted: Callable[[str], bool]) -> Record | Drop:
    """Take out the lines that are `unwanted`, or drop the record where they are all."""
    lines = record.text.split("\n")
    kept = [line for line in lines if not (line.strip() and unwanted(line.strip()))]
    if len(kept) == len(lines):
        return record
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    return replace(record, text=text) if text.strip() else Drop(record.id, "boilerplate", f"all of {len(lines)} lines", record.as_row())
