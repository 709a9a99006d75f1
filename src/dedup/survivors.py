"""Group records that hold the same text or nearly the same, and say which of each group stays."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from src.core.records import Record
from src.text.clusters import Clusters, clusters
from src.text.minhash import U32, jaccard, shingle_hashes
from src.text.normalise import normalise

EXACT = "exact_duplicate"
NEAR = "near_duplicate"


@dataclass(frozen=True, slots=True)
class Row:
    """What a record is compared by."""

    id: str
    content: bytes
    """128-bit hash of the normalised text."""
    length: int
    """Characters of the normalised text."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Why a row goes."""

    reason: str
    detail: str


class Survivors:
    """The rows of one run, in groups of duplicates."""

    def __init__(self, records: Iterable[Record], *, size: int, threshold: float | None) -> None:
        """Read the records once and group them; without a threshold only equal texts make a group."""
        self.threshold = threshold
        self.rows: list[Row] = []
        self.hashes: dict[bytes, U32] = {}
        for record in records:
            self._read(record, size)
        # numbered by content, so that the order of the rows decides nothing
        self.contents = sorted({row.content for row in self.rows})
        self.found = Clusters(list(range(len(self.contents))))
        if threshold is not None:
            self.found = clusters([self.hashes[content] for content in self.contents], threshold=threshold)

    def _read(self, record: Record, size: int) -> None:
        text = normalise(record.text)
        content = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.rows.append(Row(record.id, content, len(text)))
        if self.threshold is not None and content not in self.hashes:
            self.hashes[content] = shingle_hashes(text, size)

    def groups(self) -> dict[str, list[int]]:
        """Numbers of the rows that are duplicates of each other, by a name that hangs on their content alone."""
        number = {content: place for place, content in enumerate(self.contents)}
        found: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(self.rows):
            found[self.found.root(number[row.content])].append(place)
        return {self.contents[root].hex()[:12]: places for root, places in found.items() if len(places) > 1}

    def duplicates(self, *, keep: Literal["longest", "first"], exact: bool = True) -> dict[int, Duplicate]:
        """Say of each row that goes, by its number, why it does; unless `exact`, rows equal to the one that stays do too."""
        links = {self.contents[one]: (self.contents[other], likeness) for one, (other, likeness) in self.found.links.items()}
        found: dict[int, Duplicate] = {}
        for cluster, places in self.groups().items():
            rows = {place: self.rows[place] for place in places}
            survivor = min(places, key=lambda place: _rank(rows[place], place)) if keep == "longest" else places[0]
            named: dict[bytes, str] = {}
            for row in sorted(rows.values(), key=lambda row: row.id):
                named.setdefault(row.content, row.id)
            for place in places:
                if place != survivor and (exact or rows[place].content != rows[survivor].content):
                    found[place] = self._duplicate(rows[place], rows[survivor], cluster, links, named)
        return found

    def _duplicate(
        self, row: Row, survivor: Row, cluster: str, links: dict[bytes, tuple[bytes, float]], named: dict[bytes, str]
    ) -> Duplicate:
        if row.content == survivor.content:
            return Duplicate(EXACT, f"of {survivor.id}: Jaccard 1, cluster {cluster}")
        likeness = jaccard(self.hashes[row.content], self.hashes[survivor.content])
        through = ""
        if likeness < (self.threshold or 0):  # a chain: the partner at the threshold is another one
            partner, partners = links[row.content]
            through = f" through {named[partner]} with {partners:.3f}"
        return Duplicate(NEAR, f"of {survivor.id}: Jaccard {likeness:.3f}{through}, cluster {cluster}")


def _rank(row: Row, place: int) -> tuple[int, str, int]:
    return -row.length, row.id, place
