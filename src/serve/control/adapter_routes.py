"""The routes by which administrators load and unload adapters; who may call them is decided at the door."""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from src.serve.control.adapters import Adapters
from src.serve.control.shapes import Failure
from src.serve.engines.part import Name
from src.serve.gateway.model import Model

if TYPE_CHECKING:
    from src.serve.access.door import Guard
    from src.serve.access.visit import Visit

PATH = "/admin/adapters"
REFUSED: dict[int | str, dict[str, Any]] = {status: {"model": Failure} for status in (401, 403, 404, 409, 422, 429, 502, 503)}
InName = Annotated[str, InPath(min_length=1, max_length=128, pattern=r"^[\w.:/-]+$")]


class Wanted(BaseModel):
    """An adapter that is to be loaded."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: Name
    """What clients will call it."""
    folder: str = Field(min_length=1, max_length=512)
    """Its training, as checkpoint/NAME/train."""
    of: str | None = Field(default=None, max_length=128)
    """The model in whose process it goes; the only one that takes any if unset."""


class Shown(BaseModel):
    """An adapter."""

    name: str
    of: str
    folder: str
    state: str
    inflight: int

    @classmethod
    def of_model(cls, name: str, model: Model) -> "Shown":
        """What is told of it."""
        folder = model.folder.as_posix() if model.folder else ""
        return cls(name=name, of=model.within or "", folder=folder, state=model.engine.state, inflight=model.tally.inside)


def adapter_routes(adapters: Adapters, guard: "Guard") -> APIRouter:
    """Routes around `adapters`; each change is in the audit log of `guard` before it is made."""
    router = APIRouter(responses=REFUSED)

    @router.get(PATH)
    async def shown() -> list[Shown]:
        """Every adapter, with the model whose process it is part of."""
        return [Shown.of_model(name, model) for name, model in adapters.all.items()]

    @router.post(PATH, status_code=201, responses={400: {"model": Failure}})
    async def load(wanted: Wanted, request: Request) -> Shown:
        """Load an adapter while vLLM serves; clients may ask for it at once."""
        _noted(guard, request, "load", wanted.name, folder=wanted.folder)
        return Shown.of_model(wanted.name, await adapters.load(wanted.name, wanted.folder, wanted.of))

    @router.delete(PATH + "/{name:path}")
    async def unload(name: InName, request: Request) -> Shown:
        """Unload an adapter; answers under way go on, and who asks for it then is told that there is none."""
        _noted(guard, request, "unload", name)
        return Shown.of_model(name, await adapters.unload(name))

    return router


def _noted(guard: "Guard", request: Request, did: str, adapter: str, **more: str) -> None:
    visit: Visit = request.scope["visit"]
    who = {"who": visit.caller.id, "name": visit.caller.name, "role": visit.caller.role_name}
    guard.write({"event": "adapter", "did": did, "adapter": adapter, "request": visit.request_id, **who, **more})
