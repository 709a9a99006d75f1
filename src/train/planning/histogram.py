"""How long the rows are: from the dataset's manifest, or assumed and said so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.core.manifest import Manifest

ASSUMED_ROWS, ASSUMED_TOKENS = 10_000, 512


@dataclass(frozen=True)
class Histogram:
    """Lengths of the training rows in tokens, longest first, with how many rows have each."""

    lengths: tuple[tuple[int, int], ...]
    note: str
    """Where the figures are from."""
    real: bool = True
    """Whether they are a dataset's."""

    @property
    def rows(self) -> int:
        """How many rows."""
        return sum(count for _, count in self.lengths)

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(length * count for length, count in self.lengths)

    @property
    def longest(self) -> int:
        """The longest row."""
        return max((length for length, _ in self.lengths), default=0)

    @property
    def context(self) -> float:
        """Mean length of the row that a token stands in."""
        return sum(length * length * count for length, count in self.lengths) / max(1, self.tokens)

    def upto(self, sequence: int) -> "Histogram":
        """Without the rows that a sequence cannot hold: training drops them."""
        return Histogram(tuple(each for each in self.lengths if each[0] <= sequence), self.note, self.real)


def read_histogram(folder: Path, sequence: int) -> Histogram:
    """Lengths of the training split of the dataset in `folder`; assumed ones where it is not built yet."""
    manifest = Manifest.find(folder)
    found = (manifest.info.get("lengths") if manifest else None) or {}
    part = found.get("splits", {}).get("train")
    if not part or not part["rows"]:
        length = min(sequence, ASSUMED_TOKENS)
        why = "is not built yet" if manifest is None else "tells no lengths"
        return Histogram(((length, ASSUMED_ROWS),), f"{folder} {why}: assumed {ASSUMED_ROWS:,} rows of {length} tokens", real=False)
    exact = "" if found["exact"] else ", estimated"
    note = f"{folder}: {part['rows']:,} rows, {part['p50']:,} tokens at the median, {part['longest']:,} the longest{exact}"
    return Histogram(_expanded(part, found["width"]), note)


def _expanded(part: dict[str, Any], width: int) -> tuple[tuple[int, int], ...]:
    """One length for each bin: its middle, all moved together so that the sum of tokens is the dataset's."""
    counts = part["counts"]
    middles = [index * width + (width - 1) / 2 for index in range(len(counts))]
    total = sum(middle * count for middle, count in zip(middles, counts, strict=True))
    scale = part["tokens"] / total if total else 1.0
    found: dict[int, int] = {}
    for middle, count in zip(middles, counts, strict=True):
        if count:
            length = min(part["longest"], max(1, round(middle * scale)))
            found[length] = found.get(length, 0) + count
    return tuple(sorted(found.items(), reverse=True))
