"""The routes of memory: what is in it, search, add a note, take up what changed; each for the roles that may call it."""

from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from src.serve.memory.link import MemoryLink
from src.serve.request import RequestError
from src.serve.sound import read_json

T = TypeVar("T", bound=BaseModel)
MEMORY = "/v1/memory"
PATIENCE = 10.0
"""Seconds that a search may take."""


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Search(_Body):
    """What to look for."""

    query: str = Field(min_length=1, max_length=4000)
    """A question, or words."""
    k: int = Field(default=5, ge=1, le=50)
    """How many passages."""


class Add(_Body):
    """A note."""

    file: str = Field(min_length=1, max_length=400)
    """Path in the folder, ends in .md."""
    text: str = Field(min_length=1)
    """Markdown."""
    append: bool = False
    """Whether the file may be there already; the text is added at its end then."""


def memory_routes(link: MemoryLink, max_body: int) -> APIRouter:
    """The routes around a memory.

    Args:
        link: The memory.
        max_body: Bytes that a request may have.
    """
    router = APIRouter()

    @router.get(MEMORY)
    async def state() -> Any:
        return {"object": "memory", "files": 0, "passages": 0, **link.told, "state": link.state}

    @router.post(f"{MEMORY}/search", openapi_extra=_body(Search))
    async def search(request: Request) -> Any:
        asked = await _read(request, Search, max_body)
        found = (await link.ask("search", within=PATIENCE, question=asked.query, k=asked.k))["found"]
        return {"object": "list", "data": [{"object": "memory.passage", **each} for each in found]}

    @router.post(f"{MEMORY}/add", status_code=201, openapi_extra=_body(Add))
    async def add(request: Request) -> Any:
        asked = await _read(request, Add, max_body)
        done = await link.ask("add", file=asked.file, text=asked.text, append=asked.append)
        return {"object": "memory.file", **done}

    @router.post(f"{MEMORY}/reload")
    async def reload() -> Any:
        return {"object": "memory.changes", **await link.ask("reload")}

    return router


async def _read(request: Request, shape: type[T], max_body: int) -> T:
    """A request's body.

    Raises:
        RequestError: 415, 413 or 400 where it is not what it should be.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a page of the web cannot send unasked
        raise RequestError(415, f"the content-type has to be application/json, not {kind[:60]!r}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_body:
            raise RequestError(413, f"the body is larger than {max_body:,} bytes", code="body_too_large")
    try:
        return shape.model_validate(read_json(bytes(body)))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        where = ".".join(map(str, found["loc"])) or "the body"
        raise RequestError(400, f"{where}: {found['msg'].lower()}", param=where if found["loc"] else None) from None


def _body(shape: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": shape.model_json_schema()}}}}
