"""Vectors in Qdrant: its engine in this process, or a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Config
from src.store.row import Row

if TYPE_CHECKING:
    from src.store.qdrant_engine import EngineVectors
    from src.store.qdrant_server import ServerVectors


class Qdrant(Config):
    """Qdrant: its engine in this process, with its files in a folder, or a server (uv sync --extra qdrant)."""

    type: Literal["qdrant"] = "qdrant"
    url: Annotated[str, AfterValidator(http_url)] | None = None
    """Address of a server, such as http://127.0.0.1:6333; the engine in this process if none."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the server's key, if it wants one."""
    timeout: int = Field(default=5, ge=1)
    """Seconds to wait for the server."""

    def open(self, folder: Path, *, name: str, dimension: int) -> "EngineVectors | ServerVectors":
        """Open the collection, or begin it; searches compare each vector, exactly."""
        if self.url is None:
            from src.store.qdrant_engine import open_engine

            return open_engine(folder / name, dimension)
        from src.core.secrets import secret
        from src.store.qdrant_server import open_server

        key = secret(self.api_key_env, "the key of the Qdrant server") if self.api_key_env else None
        return open_server(self.url, key, self.timeout, name, dimension)


def number(name: str) -> str:
    """The UUID that stands for an id: Qdrant takes nothing else."""
    return str(uuid5(NAMESPACE_URL, name))


def payload(row: Row) -> dict[str, Any]:
    """What is kept beside a vector."""
    return {"id": row.id, "meta": dict(row.meta)}


def candidates(points: Sequence[Any]) -> list[tuple[str, Any, Mapping[str, str]]]:
    """What points hold, in the words of `ranking`."""
    return [(point.payload["id"], point.vector, point.payload["meta"]) for point in points]
