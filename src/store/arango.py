"""Vectors in ArangoDB: documents, an index of its own for many, AQL for the rest."""

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Config
from src.store.failure import failing, missing
from src.store.ranking import Candidate, matrix, top
from src.store.row import Hit, Row

_HINT = "see that it runs and listens at the `url` of the store, and that the user may write to the database"
_BATCH = 500
NEAREST = "FOR d IN @@rows SORT COSINE_SIMILARITY(d.vector, @unit) DESC LIMIT @wanted RETURN d"
NEAREST_INDEXED = "FOR d IN @@rows SORT APPROX_NEAR_COSINE(d.vector, @unit) DESC LIMIT @wanted RETURN d"
NEAREST_WHERE = """
FOR d IN @@rows
  FILTER LENGTH(FOR key IN ATTRIBUTES(@meta) FILTER d.meta[key] != @meta[key] LIMIT 1 RETURN 1) == 0
  SORT COSINE_SIMILARITY(d.vector, @unit) DESC LIMIT @wanted RETURN d
"""
IDS = "FOR d IN @@rows RETURN d.id"
REMOVE = "FOR key IN @keys REMOVE key IN @@rows OPTIONS {ignoreErrors: true}"


class Arango(Config):
    """ArangoDB 3.12.4 or newer, a server (uv sync --extra arango); so far tried against a stand-in alone."""

    type: Literal["arango"] = "arango"
    url: Annotated[str, AfterValidator(http_url)] = "http://127.0.0.1:8529"
    """Address of the server."""
    database: str = "_system"
    """Name of the database; it has to be there."""
    user: str = "root"
    """Who logs in."""
    password_env: str | None = "ARANGO_PASSWORD"  # noqa: S105 (a variable's name)
    """Name of the environment variable that holds the password; null for none."""
    timeout: float = Field(default=5, gt=0)
    """Seconds to wait for the server."""
    index_from: int = Field(default=5000, ge=100)
    """Rows from which a vector index answers, which may miss one and which the server needs --experimental-vector-index for;
    fewer rows, and searches with a condition, are compared one by one."""

    @failing("store arango", _HINT)
    def open(self, folder: Path, *, name: str, dimension: int) -> "ArangoVectors":
        """Open the collection, or begin it; nothing lies in `folder`."""
        from src.core.secrets import secret

        try:
            from arango import ArangoClient
            from arango.http import DefaultHTTPClient
        except ImportError:
            raise missing("arango", "python-arango") from None
        password = secret(self.password_env, "the password for ArangoDB") if self.password_env else ""
        once = DefaultHTTPClient(request_timeout=self.timeout, retry_attempts=0)  # else it tries nine times over 18 s before it gives up
        client = ArangoClient(hosts=self.url, http_client=once, resolver_max_tries=1)
        database = client.db(self.database, username=self.user, password=password)
        if not database.has_collection(name):
            database.create_collection(name)
        return ArangoVectors(client, database, name, dimension, self.index_from)


class ArangoVectors:
    """An open collection of ArangoDB."""

    def __init__(self, client: Any, database: Any, name: str, dimension: int, index_from: int) -> None:
        self.client = client
        self.database = database
        self.name = name
        self.dimension = dimension
        self.index_from = index_from
        self.indexed = any(each["type"] == "vector" for each in database.collection(name).indexes())

    @failing("store arango", _HINT)
    def add(self, rows: Sequence[Row]) -> None:
        """Put rows in, in place of those with the same id."""
        latest = list({row.id: row for row in rows}.values())
        units = matrix((row.vector for row in latest), self.dimension)
        documents = [
            {"_key": _key(row.id), "id": row.id, "vector": unit.tolist(), "meta": dict(row.meta)}
            for row, unit in zip(latest, units, strict=True)
        ]
        rows_there = self.database.collection(self.name)
        for start in range(0, len(documents), _BATCH):
            rows_there.insert_many(documents[start : start + _BATCH], overwrite_mode="replace", sync=True, raise_on_document_error=True)
        if not self.indexed and (total := rows_there.count()) >= self.index_from:
            self._index(total)

    @failing("store arango", _HINT)
    def delete(self, ids: Collection[str]) -> None:
        """Forget rows."""
        self._ask(REMOVE, keys=[_key(name) for name in ids])

    @failing("store arango", _HINT)
    def search(self, vector: Any, k: int, where: Mapping[str, str] | None = None) -> list[Hit]:
        """Find the nearest rows."""
        return top(vector, self.dimension, k, lambda unit, wanted: self._candidates(unit, wanted, where))

    @failing("store arango", _HINT)
    def ids(self) -> set[str]:
        """Everything that is in it."""
        return set(self._ask(IDS))

    @failing("store arango", _HINT)
    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def _candidates(self, unit: Any, wanted: int, where: Mapping[str, str] | None) -> list[Candidate]:
        known: dict[str, Any] = {"unit": unit.tolist(), "wanted": wanted}
        if where:
            found = self._ask(NEAREST_WHERE, **known, meta=dict(where))
        else:
            found = self._ask(NEAREST_INDEXED if self.indexed else NEAREST, **known)
        return [(each["id"], each["vector"], each["meta"]) for each in found]

    def _ask(self, query: str, **values: Any) -> list[Any]:
        return list(self.database.aql.execute(query, bind_vars={"@rows": self.name, **values}))

    def _index(self, total: int) -> None:
        """Have the server group the vectors by as many centres as its manual advises, 15 times the root of their number."""
        centres = max(1, int(15 * total**0.5) if total >= 50_000 else total // 40)
        params = {"metric": "cosine", "dimension": self.dimension, "nLists": centres, "defaultNProbe": max(1, centres // 4)}
        self.database.collection(self.name).add_index({"type": "vector", "fields": ["vector"], "params": params})
        self.indexed = True


def _key(name: str) -> str:
    """A document's key: ids may hold what a key must not."""
    return sha256(name.encode()).hexdigest()
