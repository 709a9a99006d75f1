"""Keeps each text's vector by its content, so that none is computed twice."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.sealing import Seal, SealError
from src.serve.embedding.embedder import Embeds
from src.store.failure import failing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embedded:
    """A loaded embedder, with its vectors in an SQLite file.

    Args:
        embedder: Makes them.
        file: Where they are kept; one that is damaged is made again.
        seal: Seals them, and what they are kept by.
    """

    def __init__(self, embedder: Embeds, file: Path, seal: Seal | None = None) -> None:
        self.embedder = embedder
        self.seal = seal
        self.dimension = embedder.dimension
        try:
            self.file = _opened(file)
        except sqlite3.DatabaseError:
            for path in (file, *(file.with_name(file.name + ending) for ending in ("-wal", "-shm", "-journal"))):
                path.unlink(missing_ok=True)
            self.file = _opened(file)

    @failing("embedder")
    def question(self, text: str) -> "NDArray[np.float32]":
        """A question's vector, shape (dimension,)."""
        vector: NDArray[np.float32] = self.embedder.embed([text])[0]
        return vector

    @failing("embedder")
    def texts(self, texts: Sequence[str]) -> "list[NDArray[np.float32]]":
        """The texts' vectors, each of shape (dimension,)."""
        import numpy as np

        names = [self._name(text) for text in texts]
        known = {name: self._known(name) for name in names}
        new = [text for name, text in zip(names, texts, strict=True) if known[name] is None]
        if new:
            made = list(zip(map(self._name, new), (vector.tobytes() for vector in self.embedder.embed(new)), strict=True))
            known |= dict(made)
            with self.file:
                kept = [(name, self.seal.pack(vector) if self.seal else vector) for name, vector in made]
                self.file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", kept)
        return [np.frombuffer(known[name] or b"", np.float32) for name in names]

    @failing("embedder")
    def keep(self, texts: Iterable[str]) -> None:
        """Forget all vectors but those of these texts."""
        wanted = {self._name(text) for text in texts}
        gone = [row for row in self.file.execute("SELECT name FROM vectors") if row[0] not in wanted]
        with self.file:
            self.file.executemany("DELETE FROM vectors WHERE name = ?", gone)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _known(self, name: str) -> bytes | None:
        row = self.file.execute("SELECT vector FROM vectors WHERE name = ?", (name,)).fetchone()
        try:
            vector = self.seal.unpack(row[0]) if self.seal and row else row[0] if row else b""
        except SealError:
            return None  # of another key: made again
        return vector if len(vector) == 4 * self.dimension else None

    def _name(self, text: str) -> str:
        data = text.encode("utf-8", "replace")
        return self.seal.mark(data) if self.seal else sha256(data).hexdigest()


def _opened(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False)
    with suppress(sqlite3.OperationalError):  # a file system that has no shared memory does without
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS vectors (name TEXT PRIMARY KEY, vector BLOB NOT NULL)")
    return connection
