"""Talks to a Qdrant server."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from src.store.failure import failing, missing
from src.store.qdrant import candidates, number, payload
from src.store.ranking import Candidate, matrix, top
from src.store.row import Hit, Row

_PAGE = 1000
_BATCH = 256  # rows a request: a body stays far below the server's limit
_HINT = "see that it runs and listens at the `url` of the store"


@failing("store qdrant", _HINT)
def open_server(url: str, key: str | None, timeout: int, name: str, dimension: int) -> "ServerVectors":
    """Open a collection of the server at `url`, or begin it."""
    try:
        from qdrant_client import QdrantClient, models
    except ImportError:
        raise missing("qdrant", "qdrant-client") from None
    with warnings.catch_warnings():
        if (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1"):
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # it does not leave this machine
        client = QdrantClient(url=url, api_key=key, timeout=timeout, check_compatibility=False)
    if not client.collection_exists(name):
        client.create_collection(name, vectors_config=models.VectorParams(size=dimension, distance=models.Distance.DOT))
    return ServerVectors(client, models, name, dimension)


class ServerVectors:
    """An open collection of a server."""

    def __init__(self, client: Any, models: Any, name: str, dimension: int) -> None:
        self.client = client
        self.models = models
        self.name = name
        self.dimension = dimension

    @failing("store qdrant", _HINT)
    def add(self, rows: Sequence[Row]) -> None:
        """Put rows in, in place of those with the same id."""
        units = matrix((row.vector for row in rows), self.dimension)
        make = self.models.PointStruct
        points = [make(id=number(row.id), vector=unit.tolist(), payload=payload(row)) for row, unit in zip(rows, units, strict=True)]
        for start in range(0, len(points), _BATCH):
            self.client.upsert(self.name, points=points[start : start + _BATCH], wait=True)

    @failing("store qdrant", _HINT)
    def delete(self, ids: Collection[str]) -> None:
        """Forget rows."""
        if ids:
            self.client.delete(self.name, points_selector=self.models.PointIdsList(points=[number(name) for name in ids]), wait=True)

    @failing("store qdrant", _HINT)
    def search(self, vector: Any, k: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """Find the nearest rows."""
        value, field = self.models.MatchValue, self.models.FieldCondition
        equal = [field(key=f"meta.{key}", match=value(value=wanted)) for key, wanted in (where or {}).items()]
        condition = self.models.Filter(must=equal) if equal else None
        return top(vector, self.dimension, k, lambda unit, wanted: self._candidates(unit, wanted, condition))

    @failing("store qdrant", _HINT)
    def ids(self) -> set[str]:
        """Everything that is in it."""
        found: set[str] = set()
        offset = None
        while True:
            points, offset = self.client.scroll(self.name, limit=_PAGE, offset=offset, with_payload=["id"], with_vectors=False)
            found |= {point.payload["id"] for point in points}
            if offset is None:
                return found

    @failing("store qdrant", _HINT)
    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def _candidates(self, unit: Any, wanted: int, condition: Any) -> list[Candidate]:
        exact = self.models.SearchParams(exact=True)
        found = self.client.query_points(
            self.name, query=unit.tolist(), limit=wanted, query_filter=condition, search_params=exact, with_payload=True, with_vectors=True
        )
        return candidates(found.points)
