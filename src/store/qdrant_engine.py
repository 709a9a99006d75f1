"""Opens Qdrant's engine in this process, with its files in a folder."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.store.failure import failing, missing
from src.store.qdrant import candidates, number, payload
from src.store.ranking import Candidate, matrix, top
from src.store.row import Hit, Row

_PAGE = 1000


@failing("store qdrant")
def open_engine(folder: Path, dimension: int) -> "EngineVectors":
    """Open the engine's files in `folder`, or begin them."""
    try:
        import qdrant_edge
    except ImportError:
        raise missing("qdrant", "qdrant-edge-py") from None
    folder.mkdir(parents=True, exist_ok=True)
    # not cosine, with which it would keep other numbers than it was given
    config = qdrant_edge.EdgeConfig(vectors=qdrant_edge.EdgeVectorParams(size=dimension, distance=qdrant_edge.Distance.Dot))
    begun = any(folder.iterdir())
    shard = qdrant_edge.EdgeShard.load(str(folder), config) if begun else qdrant_edge.EdgeShard.create(str(folder), config)
    return EngineVectors(qdrant_edge, shard, dimension)


class EngineVectors:
    """An open engine."""

    def __init__(self, edge: Any, shard: Any, dimension: int) -> None:
        self.edge = edge
        self.shard = shard
        self.dimension = dimension

    @failing("store qdrant")
    def add(self, rows: Sequence[Row]) -> None:
        """Put rows in, in place of those with the same id."""
        units = matrix((row.vector for row in rows), self.dimension)
        points = [self.edge.Point(number(row.id), unit.tolist(), payload(row)) for row, unit in zip(rows, units, strict=True)]
        if points:
            self.shard.update(self.edge.UpdateOperation.upsert_points(points))
            self.shard.flush()

    @failing("store qdrant")
    def delete(self, ids: Collection[str]) -> None:
        """Forget rows."""
        self.shard.update(self.edge.UpdateOperation.delete_points([number(name) for name in ids]))
        self.shard.flush()

    @failing("store qdrant")
    def search(self, vector: Any, k: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """Find the nearest rows."""
        equal = [self.edge.FieldCondition(f"meta.{key}", match=self.edge.MatchValue(value)) for key, value in (where or {}).items()]
        condition = self.edge.Filter(must=equal) if equal else None
        return top(vector, self.dimension, k, lambda unit, wanted: self._candidates(unit, wanted, condition))

    @failing("store qdrant")
    def ids(self) -> set[str]:
        """Everything that is in it."""
        found: set[str] = set()
        offset = None
        while True:
            page = self.edge.ScrollRequest(offset=offset, limit=_PAGE, with_payload=True, with_vector=False)
            points, offset = self.shard.scroll(page)
            found |= {point.payload["id"] for point in points}
            if offset is None:
                return found

    @failing("store qdrant")
    def close(self) -> None:
        """Close its files."""
        self.shard.close()

    def _candidates(self, unit: Any, wanted: int, condition: Any) -> list[Candidate]:
        request = self.edge.QueryRequest(
            limit=wanted,
            query=self.edge.Query.Nearest(unit.tolist()),
            with_vector=True,
            with_payload=True,
            filter=condition,
            params=self.edge.SearchParams(exact=True),
        )
        return candidates(self.shard.query(request))
