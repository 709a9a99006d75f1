"""All sketched documents, numbered through their parts: those of older crawls first, then the input's in its order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.dedup.shelf import Shelf
from src.dedup.spill import Spill, allow_files, opened

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sketched:
    """Where a part's sketches are, and what its documents are called."""

    shelf: Shelf
    name: str
    documents: int
    path: str
    kind: str
    first_line: int
    """Number of the part's first line in its file, from 1."""

    def spill(self) -> Spill:
        """Open the file."""
        return opened(self.shelf.path(self.name))


@dataclass(frozen=True)
class Corpus:
    """The parts in order."""

    parts: tuple[Sketched, ...]
    old: int
    """Documents of older crawls: they come first, and stay."""

    @cached_property
    def bases(self) -> I64:
        """Number of the first document of each part, and of all."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum([part.documents for part in self.parts], dtype=np.int64)])

    @property
    def total(self) -> int:
        """How many documents."""
        return int(self.bases[-1])

    def band(self, number: int) -> NDArray[np.uint64]:
        """The key of every document in a band."""
        return self._filled("keys", np.uint64, lambda spill: spill.row("keys", number))

    def contents(self, half: int = 0) -> NDArray[np.uint64]:
        """Half of the 128-bit hash of every document."""
        return self._filled("wholes", np.uint64, lambda spill: spill.read("wholes")[:, half])

    def has_grams(self) -> NDArray[np.bool_]:
        """Whether each document has n-grams; shorter ones only equal their equals."""
        return self._filled("ends", np.bool_, lambda spill: np.diff(spill.read("ends"), prepend=0) > 0)

    def _filled(self, name: str, kind: Any, read: Any) -> NDArray[Any]:
        found = np.empty(self.total, kind)
        for start, end, part in zip(self.bases[:-1], self.bases[1:], self.parts, strict=True):
            found[start:end] = read(part.spill())
        return found

    def by_part(self, numbers: I64) -> Iterator[tuple[Sketched, I64, I64]]:
        """Yield for each part that holds some of the documents: the part, their places in `numbers`, their places in it."""
        order = np.argsort(numbers, kind="stable")
        edges = np.searchsorted(numbers[order], self.bases)
        for place, part in enumerate(self.parts):
            where = order[edges[place] : edges[place + 1]]
            if len(where):
                yield part, where, numbers[where] - self.bases[place]

    def pick(self, name: str, numbers: I64, kind: Any) -> NDArray[Any]:
        """The entries of a section for some documents."""
        found = np.zeros(len(numbers), kind)
        for part, where, places in self.by_part(numbers):
            found[where] = part.spill().mapped(name)[places]
        return found

    def wholes(self, numbers: I64) -> NDArray[np.uint64]:
        """The 128-bit hashes of some documents, shape (numbers, 2)."""
        found = np.zeros((len(numbers), 2), np.uint64)
        for part, where, places in self.by_part(numbers):
            found[where] = part.spill().mapped("wholes")[places]
        return found

    def grams(self, numbers: I64) -> "Grams":
        """Where the n-gram hashes of some documents lie in memory."""
        allow_files(len(self.parts))
        addresses, sizes, held = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64), []
        for part, where, places in self.by_part(numbers):
            spill = part.spill()
            ends, values = spill.mapped("ends"), spill.mapped("grams")
            begins = np.where(places > 0, ends[np.maximum(places - 1, 0)], 0)
            addresses[where] = values.ctypes.data + 4 * begins
            sizes[where] = ends[places] - begins
            held.append(values)
        return Grams(addresses, sizes, held)

    def names(self, numbers: I64) -> list[str]:
        """The ids of some documents."""
        found = np.empty(len(numbers), object)
        for part, where, places in self.by_part(numbers):
            spill = part.spill()
            found[where] = _lines(spill, part, places) if part.kind == "jsonl" else _ids(spill, places)
        return list(found)


@dataclass(frozen=True)
class Grams:
    """N-gram hashes in place."""

    addresses: I64
    sizes: I64
    held: list[Any]
    """Keeps the memory mapped."""

    def scratch(self) -> tuple[NDArray[np.uint32], I64]:
        """A hash table with room for any two of them."""
        largest = np.sort(self.sizes)[-2:].sum() if len(self.sizes) else 0
        size = 1 << max(6, int(2 * largest).bit_length())
        return np.zeros(size, np.uint32), np.zeros(size, np.int64)


def _lines(spill: Spill, part: Sketched, places: I64) -> Sequence[str]:
    rows = spill.mapped("rows")[places]
    return [f"{part.path}:{row + part.first_line}" for row in rows.tolist()]


def _ids(spill: Spill, places: I64) -> Sequence[str]:
    ends, data = spill.mapped("id_ends"), spill.mapped("ids")
    begins = np.where(places > 0, ends[np.maximum(places - 1, 0)], 0)
    pairs = zip(begins.tolist(), ends[places].tolist(), strict=True)
    return [data[begin:end].tobytes().decode("utf-8", "surrogatepass") for begin, end in pairs]
