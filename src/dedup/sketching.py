"""The first kind of task: sketch the documents of a part into a spill file."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.core.files import digest
from src.dedup.documents import Batch, batches
from src.dedup.parts import Part
from src.dedup.shelf import Shelf
from src.dedup.spill import Spill, SpillError, write_spill
from src.text.folding import Folding, folding, version
from src.text.kernels import sketch
from src.text.minhash import FACTORS, OFFSETS, PERMUTATIONS, rows_for

_FORMAT = 1  # raise it when a kernel gives other numbers
_NO_TABLES = Folding(np.zeros(0, np.uint8), np.zeros(0, np.uint32), np.zeros(0, np.uint32))


@dataclass(frozen=True, slots=True)
class Method:
    """How documents are compared: sketches made by another method cannot be used together."""

    unit: str
    ngram: int
    threshold: float
    column: str
    score: str | None

    @property
    def rows(self) -> int:
        """Minima in a band."""
        return rows_for(self.threshold)

    @property
    def bands(self) -> int:
        """Bands of all minima."""
        return PERMUTATIONS // self.rows

    @property
    def is_telling(self) -> bool:
        """Whether texts of one n-gram can only be alike if they are equal."""
        return self.threshold > 0.5

    @property
    def key(self) -> str:
        """Stands for all that the numbers depend on; texts and scores are the part's affair."""
        return digest([_FORMAT, version(), self.unit, self.ngram, self.rows, self.is_telling])


def sketch_part(shelf: Shelf, part: Part, method: Method) -> dict[str, Any]:
    """Make the spill of a part, unless a whole one is there; return its head."""
    name, key = f"{part.name}.sketch", digest([method.key, method.column, method.score, part.name])
    if shelf.has(name):
        try:
            found = Spill.open(shelf.path(name))
            found.check()
            if found.head["key"] == key:
                return found.head
        except (SpillError, OSError, KeyError, ValueError):
            shelf.remove(name)
    head, arrays = _sketched(part, method, key)
    shelf.save(name, lambda stream: write_spill(stream, head, arrays))
    return head


def _sketched(part: Part, method: Method, key: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    pieces: list[dict[str, NDArray[Any]]] = []
    grams = read = 0
    for batch in batches(part, method.column, method.score):
        pieces.append(_batch(batch, method, grams))
        grams += len(pieces[-1]["grams"])
        read = batch.read
    arrays = {name: np.concatenate([piece[name] for piece in pieces], axis=-1 if name == "keys" else 0) for name in pieces[0]}
    if "ids" in arrays:
        arrays["id_ends"] = np.cumsum(arrays["id_ends"])
    sizes = np.diff(arrays["ends"], prepend=0)
    head = {"key": key, "method": method.key, "path": part.path, "kind": part.kind, "documents": len(sizes), "grams": grams}
    return head | {"longest": int(sizes.max(initial=0)), "lines": read}, arrays


def _batch(batch: Batch, method: Method, before: int) -> dict[str, NDArray[Any]]:
    count = len(batch.rows)
    tables = _NO_TABLES if batch.text[batch.bounds[0] : batch.bounds[-1]].tobytes().isascii() else folding()
    keys, wholes = np.empty((method.bands, count), np.uint64), np.empty((count, 2), np.uint64)
    sizes, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    room = int(batch.bounds[-1] - batch.bounds[0]) // (2 if method.unit == "words" else 1) + count + 1
    total = -1
    while total < 0:
        grams = np.empty(room, np.uint32)
        total = sketch(
            *(batch.text, batch.bounds, method.ngram, method.unit == "chars", method.is_telling, method.rows),
            *(FACTORS, OFFSETS, tables.kind, tables.to, tables.several, keys, wholes, sizes, grams, ends),
        )
        room *= 4
    found: dict[str, NDArray[Any]] = {
        "keys": keys,
        "wholes": wholes,
        "sizes": sizes,
        "ends": ends + before,
        "rows": batch.rows,
        "grams": grams[:total].copy(),
    }
    if batch.scores is not None:
        found["scores"] = np.array(batch.scores, np.float64)
    if batch.ids is not None:
        names = [name.encode("utf-8", "surrogatepass") for name in batch.ids]
        found |= {"id_ends": np.array([len(name) for name in names], np.int64), "ids": np.frombuffer(b"".join(names), np.uint8)}
    return found
