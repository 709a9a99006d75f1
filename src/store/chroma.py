"""Vectors in Chroma, in a folder of its own on this machine, without telemetry."""

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from src.core.config import Config
from src.store.failure import failing, missing
from src.store.ranking import Candidate, matrix, top
from src.store.row import Hit, Row


class Chroma(Config):
    """Chroma, in this process, with its files in a folder (uv sync --extra chroma)."""

    type: Literal["chroma"] = "chroma"
    ef_search: int = Field(default=2000, ge=10)
    """How many candidates its graph search keeps: up to about as many vectors it is exact, beyond it may miss one."""

    @failing("store chroma")
    def open(self, folder: Path, *, name: str, dimension: int) -> "ChromaVectors":
        """Open the collection, or begin it."""
        os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError:
            raise missing("chroma", "chromadb") from None
        folder.mkdir(parents=True, exist_ok=True)
        try:
            client = chromadb.PersistentClient(path=str(folder.resolve()), settings=Settings(anonymized_telemetry=False))
        except BaseException:
            chromadb.api.client.SharedSystemClient.clear_system_cache()  # else the next try here gets what this one left half open
            raise
        graph = {"space": "ip", "ef_search": self.ef_search, "ef_construction": 200, "max_neighbors": 32}
        # without an embedding function of its own, which would want the network
        collection = client.get_or_create_collection(name, configuration={"hnsw": graph}, embedding_function=None)
        if collection.configuration_json["hnsw"]["ef_search"] != self.ef_search:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "legacy embedding function", DeprecationWarning)  # that is to have none
                collection.modify(configuration={"hnsw": {"ef_search": self.ef_search}})
        return ChromaVectors(client, collection, dimension)


class ChromaVectors:
    """An open collection of Chroma."""

    def __init__(self, client: Any, collection: Any, dimension: int) -> None:
        self.client = client
        self.collection = collection
        self.dimension = dimension
        self.most = client.get_max_batch_size()

    @failing("store chroma")
    def add(self, rows: Sequence[Row]) -> None:
        """Put rows in, in place of those with the same id."""
        latest = list({row.id: row for row in rows}.values())
        units = matrix((row.vector for row in latest), self.dimension)
        for start in range(0, len(latest), self.most):
            part, vectors = latest[start : start + self.most], units[start : start + self.most]
            names = [row.id for row in part]
            if there := self.collection.get(ids=names, include=[])["ids"]:
                self.collection.delete(ids=there)  # an upsert would leave keys of the old meta
            self.collection.add(ids=names, embeddings=vectors, metadatas=[dict(row.meta) or None for row in part])

    @failing("store chroma")
    def delete(self, ids: Collection[str]) -> None:
        """Forget rows."""
        names = list(ids)
        for start in range(0, len(names), self.most):
            self.collection.delete(ids=names[start : start + self.most])

    @failing("store chroma")
    def search(self, vector: Any, k: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """Find the nearest rows."""
        asked = [{key: value} for key, value in (where or {}).items()]
        condition = {"$and": asked} if len(asked) > 1 else asked[0] if asked else None
        return top(vector, self.dimension, k, lambda unit, wanted: self._candidates(unit, wanted, condition))

    @failing("store chroma")
    def ids(self) -> set[str]:
        """Everything that is in it."""
        return set(self.collection.get(include=[])["ids"])

    @failing("store chroma")
    def close(self) -> None:
        """Let go of its files."""
        self.client.close()

    def _candidates(self, unit: Any, wanted: int, condition: dict[str, Any] | None) -> list[Candidate]:
        found = self.collection.query(query_embeddings=[unit], n_results=wanted, where=condition, include=["embeddings", "metadatas"])
        columns = zip(found["ids"][0], found["embeddings"][0], found["metadatas"][0], strict=True)
        return [(name, vector, meta or {}) for name, vector, meta in columns]
