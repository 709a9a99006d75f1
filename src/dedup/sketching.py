"""The first kind of task: sketch the documents of a part into a spill file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.core.files import digest
from src.dedup.documents import Batch, Scratch, line_batch
from src.dedup.parts import Part
from src.dedup.shelf import Shelf
from src.dedup.spill import Spill, SpillError, write_spill
from src.text.ascii import STATE
from src.text.folding import Folding, folding, version
from src.text.kernels import BYTES, GRAMS, TABLES, UNITS, sketch
from src.text.minhash import FACTORS, OFFSETS, PERMUTATIONS, rows_for

_FORMAT = 2  # raise it when a kernel gives other numbers
_SCRATCH = Scratch()
_ROOM = {BYTES: 1 << 16, UNITS: 1 << 14, GRAMS: 1 << 20, TABLES: 0}
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
    arrays = pieces[0]
    if len(pieces) > 1:
        arrays = {name: np.concatenate([piece[name] for piece in pieces], axis=-1 if name == "keys" else 0) for name in arrays}
    if "ids" in arrays:
        arrays["id_ends"] = np.cumsum(arrays["id_ends"])
    head = {"key": key, "method": method.key, "path": part.path, "kind": part.kind, "documents": len(arrays["ends"]), "grams": grams}
    return head | {"lines": read}, arrays


def batches(part: Part, column: str, score: str | None) -> Iterator[Batch]:
    """Read the documents of a part; rows that are none are passed over."""
    if part.kind == "jsonl":
        yield line_batch(part, column, score)
        return
    from src.dedup.rows import table_batches

    none = np.zeros(0, np.int64)
    yield Batch(np.zeros(0, np.uint8), none, none, none, 0, None, [], [] if score else None)  # so that there is one
    yield from table_batches(part, score)


def _batch(batch: Batch, method: Method, before: int) -> dict[str, NDArray[Any]]:
    found, total = _hashed(batch, method)
    grams = _SCRATCH.get("grams", 0, np.uint32)[:total]
    found |= {"ends": found["ends"] + before, "rows": batch.rows, "grams": grams if batch.lines is not None else grams.copy()}
    if batch.lines is not None:
        found["lines"] = batch.lines
    if batch.scores is not None:
        found["scores"] = np.array(batch.scores, np.float64)
    if batch.ids is not None:
        names = [name.encode("utf-8", "surrogatepass") for name in batch.ids]
        found |= {"id_ends": np.array([len(name) for name in names], np.int64), "ids": np.frombuffer(b"".join(names), np.uint8)}
    return found


def _hashed(batch: Batch, method: Method) -> tuple[dict[str, NDArray[Any]], int]:
    """Call the kernel, with more room until it has enough; the n-gram hashes stay in the thread's scratch."""
    count = len(batch.rows)
    keys, wholes = np.empty((method.bands, count), np.uint64), np.empty((count, 2), np.uint64)
    sizes, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    needs, tables, total = np.zeros(len(_ROOM), np.int64), _NO_TABLES, -1
    needs[GRAMS] = int((batch.stops - batch.starts).sum()) // (4 if method.unit == "words" else 1) + count
    while total < 0:
        scratch = (
            _SCRATCH.get("folded", max(_ROOM[BYTES], needs[BYTES]), np.uint8),
            _SCRATCH.get("units", max(_ROOM[UNITS], needs[UNITS]), np.uint64),
            _SCRATCH.get("state", STATE, np.uint64),
            _SCRATCH.get("least", len(FACTORS), np.uint32),
        )
        grams = _SCRATCH.get("grams", max(_ROOM[GRAMS], needs[GRAMS]), np.uint32)
        if needs[TABLES]:
            tables = folding()
        total = sketch(
            *(batch.text, batch.starts, batch.stops, method.ngram, method.unit == "chars", method.is_telling, method.rows),
            *(FACTORS, OFFSETS, tables.kind, tables.to, tables.several, *scratch, needs, keys, wholes, sizes, grams, ends),
        )
        needs[GRAMS] *= 2
    return {"keys": keys, "wholes": wholes, "sizes": sizes, "ends": ends}, total
