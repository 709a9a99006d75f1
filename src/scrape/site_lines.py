"""Lines that many pages of one site have: counted over all pages first, then taken out."""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from urllib.parse import urlsplit

from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.filters.boilerplate import LONGEST, without


class SiteLines:
    """How many pages of each site hold which line; memory is bounded by forgetting lines seen once.

    Source: Manku and Motwani, "Approximate Frequency Counts over Data Streams" (2002): counts are too low by at most the times of it.
    """

    def __init__(self, *, share: float, min_pages: int, most: int = 4_000_000) -> None:
        self.share = share
        self.min_pages = min_pages
        self.most = most
        self.pages: Counter[str] = Counter()
        self.lines: Counter[int] = Counter()

    def learn(self, items: Iterable[Record | Drop]) -> None:
        """Count the short lines of every page that has a URL."""
        for item in items:
            if isinstance(item, Record) and (site := _site(item)):
                self.pages[site] += 1
                self.lines.update({_mark(site, line) for line in item.text.split("\n") if line.strip() and len(line) <= LONGEST})
                if len(self.lines) > self.most:
                    self.lines = Counter({mark: count for mark, count in self.lines.items() if count > 1})

    def apply(self, record: Record) -> Record | Drop:
        """Take out the lines of the record's site."""
        site = _site(record)
        fewest = max(self.min_pages, self.share * self.pages[site])
        if not site or self.pages[site] < self.min_pages:
            return record
        return without(record, lambda line: len(line) <= LONGEST and self.lines[_mark(site, line)] >= fewest)


def _site(record: Record) -> str:
    try:
        return (urlsplit(str(record.meta.get("url") or "")).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _mark(site: str, line: str) -> int:
    text = f"{site}\n{' '.join(line.casefold().split())}"
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
