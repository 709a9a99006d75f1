"""Vectors that can be searched: Chroma, FAISS, Qdrant, ArangoDB, or each compared with NumPy."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Protocol

from pydantic import Field

from src.store.arango import Arango
from src.store.chroma import Chroma
from src.store.faiss import Faiss
from src.store.numpy import Numpy
from src.store.qdrant import Qdrant
from src.store.row import Hit, Row, Vector

__all__ = ["Hit", "Row", "Store", "Vectors"]


class Vectors(Protocol):
    """An open store, for one thread at a time and no event loop; what it cannot do raises a StoreError."""

    def add(self, rows: Sequence[Row]) -> None:
        """Put rows in, in place of those with the same id. Once it returns, a kill of this process loses none of them."""

    def delete(self, ids: Collection[str]) -> None:
        """Forget rows; an id that is not there is no error."""

    def search(self, vector: Vector, k: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """Find the `k` rows of the greatest cosine, those of equal cosine (to six decimals) by id.

        Args:
            vector: What to compare with, of any length but zero.
            k: How many rows; there are fewer where the store holds fewer.
            where: Values that a row's `meta` must have.
        """

    def ids(self) -> set[str]:
        """Everything that is in it: what a caller holds against its source of truth."""

    def close(self) -> None:
        """Let go of files and connections."""


Store = Annotated[Chroma | Faiss | Qdrant | Arango | Numpy, Field(discriminator="type")]
"""A store has `open(folder, *, name, dimension)`, which returns Vectors; its files, if it has any, lie in `folder`, for nobody else.

`name` is that of the collection: 3 to 60 letters, digits and hyphens, beginning and ending with a letter or digit.
"""
