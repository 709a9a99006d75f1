"""Vectors in FAISS: an exact flat index in memory, over rows in an SQLite file."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.config import Config
from src.store.failure import missing

if TYPE_CHECKING:
    from src.store.kept import Kept


class Faiss(Config):
    """FAISS, exactly and in memory; the rows lie in an SQLite file (uv sync --extra faiss)."""

    type: Literal["faiss"] = "faiss"

    def open(self, folder: Path, *, name: str, dimension: int) -> "Kept":
        """Open the collection, or begin it."""
        from src.store.kept import Kept

        try:
            import faiss
        except ImportError:
            raise missing("faiss", "faiss-cpu") from None
        return Kept(folder, name, dimension, _Index(faiss, dimension))


class _Index:
    """A flat inner-product index by number."""

    def __init__(self, faiss: Any, dimension: int) -> None:
        self.faiss = faiss
        self.index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    def add(self, numbers: Any, vectors: Any) -> None:
        self.index.add_with_ids(vectors, numbers)

    def remove(self, numbers: Collection[int]) -> None:
        import numpy as np

        self.index.remove_ids(np.array(list(numbers), np.int64))

    def nearest(self, unit: Any, wanted: int, among: Sequence[int] | None) -> list[tuple[int, Any]]:
        import numpy as np

        chosen = None
        if among is not None:
            chosen = self.faiss.SearchParameters(sel=self.faiss.IDSelectorBatch(np.array(among, np.int64)))
        total = self.index.ntotal if among is None else len(among)
        if not total:
            return []
        _, found = self.index.search(unit[None], min(wanted, total), params=chosen)
        return [(int(number), self.index.reconstruct(int(number))) for number in found[0] if number >= 0]
