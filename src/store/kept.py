"""Keeps rows in an SQLite file, whole whenever this process is killed, with an index over them in memory."""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from src.store.failure import StoreError, failing
from src.store.ranking import Candidate, matrix, top
from src.store.row import Hit, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS about (dimension INTEGER);
CREATE TABLE IF NOT EXISTS rows
    (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, meta TEXT NOT NULL, vector BLOB NOT NULL);
"""


class Index(Protocol):
    """Unit vectors in memory, by number."""

    def add(self, numbers: "NDArray[np.int64]", vectors: "NDArray[np.float32]") -> None:
        """Put vectors in, shape (n, dimension)."""

    def remove(self, numbers: Collection[int]) -> None:
        """Take vectors out."""

    def nearest(self, unit: "NDArray[np.float32]", wanted: int, among: Sequence[int] | None) -> list[tuple[int, "NDArray[np.float32]"]]:
        """The `wanted` vectors of the greatest inner product, all of them or `among` these numbers."""


class Kept:
    """An open store of this kind.

    Args:
        folder: Where its file lies.
        name: Of the collection, and so of the file.
        dimension: Of its vectors.
        index: An empty index.
    """

    @failing("store in a file")
    def __init__(self, folder: Path, name: str, dimension: int, index: Index) -> None:
        self.dimension = dimension
        self.index = index
        folder.mkdir(parents=True, exist_ok=True)
        self.file = sqlite3.connect(folder / f"{name}.sqlite", check_same_thread=False)
        self.file.executescript(_TABLES)
        stored = self.file.execute("SELECT dimension FROM about").fetchone()
        if stored and stored[0] != dimension:
            raise StoreError(f"{folder / name}.sqlite holds vectors of {stored[0]} numbers, not {dimension}")
        if not stored:
            self._write("INSERT INTO about VALUES (?)", [(dimension,)])
        self.known: dict[int, tuple[str, dict[str, str]]] = {}
        self.numbers: dict[str, int] = {}
        self._load(self.file.execute("SELECT number, id, meta, vector FROM rows ORDER BY number").fetchall())

    @failing("store in a file")
    def add(self, rows: Sequence[Row]) -> None:
        """Put rows in, in place of those with the same id."""
        latest = {row.id: row for row in rows}
        units = matrix((row.vector for row in latest.values()), self.dimension)
        values = [(name, json.dumps(dict(row.meta)), unit.tobytes()) for (name, row), unit in zip(latest.items(), units, strict=True)]
        self._write("INSERT OR REPLACE INTO rows (id, meta, vector) VALUES (?, ?, ?)", values)
        self._forget(latest)
        self._load([self._stored(name) for name in latest])

    @failing("store in a file")
    def delete(self, ids: Collection[str]) -> None:
        """Forget rows."""
        self._write("DELETE FROM rows WHERE id = ?", [(name,) for name in ids])
        self._forget(ids)

    @failing("store in a file")
    def search(self, vector: Any, k: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """Find the nearest rows."""
        among = [number for number, (_, meta) in self.known.items() if where.items() <= meta.items()] if where else None
        return top(vector, self.dimension, k, lambda unit, wanted: self._candidates(unit, wanted, among))

    def ids(self) -> set[str]:
        """Everything that is in it."""
        return set(self.numbers)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _candidates(self, unit: Any, wanted: int, among: Sequence[int] | None) -> list[Candidate]:
        return [(self.known[number][0], vector, self.known[number][1]) for number, vector in self.index.nearest(unit, wanted, among)]

    def _write(self, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
        with self.file:
            self.file.executemany(statement, values)

    def _stored(self, name: str) -> tuple[int, str, str, bytes]:
        row: tuple[int, str, str, bytes] = self.file.execute("SELECT number, id, meta, vector FROM rows WHERE id = ?", (name,)).fetchone()
        return row

    def _load(self, rows: Sequence[tuple[int, str, str, bytes]]) -> None:
        import numpy as np

        if not rows:
            return
        for number, name, meta, _ in rows:
            self.known[number], self.numbers[name] = (name, json.loads(meta)), number
        vectors = np.frombuffer(b"".join(row[3] for row in rows), np.float32).reshape(len(rows), self.dimension)
        self.index.add(np.array([row[0] for row in rows], np.int64), vectors)

    def _forget(self, ids: Collection[str]) -> None:
        gone = [self.numbers.pop(name) for name in ids if name in self.numbers]
        for number in gone:
            del self.known[number]
        if gone:
            self.index.remove(gone)
