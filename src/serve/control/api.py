"""The control plane's routes: who may call which is decided at the door, by role and path."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, PlainTextResponse

from src.core.errors import MlxError
from src.core.secrets import redact
from src.serve.control.shapes import Failure, Health, KeyShown, Lineage, Reloaded, Status, Turned
from src.serve.gateway.gateway import Gateway

if TYPE_CHECKING:
    from src.serve.access.door import Guard
    from src.serve.access.visit import Visit
    from src.serve.control.metrics import Metrics
    from src.serve.control.steering import Steering

Name = Annotated[str, InPath(min_length=1, max_length=128, pattern=r"^[\w.:/-]+$")]
KeyId = Annotated[str, InPath(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
REFUSED: dict[int | str, dict[str, Any]] = {401: {"model": Failure}, 403: {"model": Failure}, 429: {"model": Failure}}
ABSENT: dict[int | str, dict[str, Any]] = {404: {"model": Failure}, 422: {"model": Failure}}


def watching(gateway: Gateway, metrics: "Metrics", lineage: Mapping[str, Any]) -> APIRouter:
    """Routes that only look.

    Args:
        gateway: Whose health is told.
        metrics: What is counted.
        lineage: What each model was made from.
    """
    router = APIRouter()

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @router.get("/health/ready", responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Whether a request can be answered, model by model."""
        told = Health.of(gateway)
        response.status_code = 200 if told.status in ("ready", "degraded") else 503
        return told

    @router.get("/metrics", responses=REFUSED, response_class=PlainTextResponse)
    async def measured() -> Response:
        """All counts, in Prometheus' form."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/v1/lineage", responses=REFUSED)
    async def made_from(request: Request) -> Lineage:
        """What the models were made from, as far as the caller may ask them."""
        visit: Visit | None = request.scope.get("visit")
        return Lineage(models={name: told for name, told in lineage.items() if visit is None or visit.caller.role.may_ask(name)})

    return router


def turning(gateway: Gateway, guard: "Guard", steering: "Steering") -> APIRouter:
    """Routes that change something; there are none without a door."""
    router = APIRouter(prefix="/admin", responses=REFUSED)

    @router.get("/status")
    async def status() -> Status:
        """Health, tries and copies of the worker that answers."""
        return Status.of(gateway)

    @router.get("/keys")
    async def keys() -> list[KeyShown]:
        """Every key, without what is secret about it."""
        return [KeyShown.of(key) for key in guard.identify.keys.all()]

    @router.delete("/keys/{key}", responses=ABSENT)
    def revoke(key: KeyId) -> KeyShown:
        """Revoke a key, from the next request on."""
        try:
            return KeyShown.of(guard.identify.keys.revoke(key))
        except MlxError as error:
            raise HTTPException(404, str(error)) from None

    @router.post("/models/{name:path}/drain", responses=ABSENT)
    def drain(name: Name) -> Turned:
        """Let a model end what it is at, and take nothing new."""
        return _turned(gateway, steering, name, drained=True)

    @router.post("/models/{name:path}/resume", responses=ABSENT)
    def resume(name: Name) -> Turned:
        """Let a drained model take requests again."""
        return _turned(gateway, steering, name, drained=False)

    @router.post("/reload", responses={409: {"model": Failure}})
    def reload() -> Reloaded:
        """Read the settings anew: roles and public paths are in force at once, all else waits for a restart."""
        try:
            return Reloaded(**steering.reload())
        except MlxError as error:
            raise HTTPException(409, redact(f"the settings stay as they were: {error}")) from None

    return router


def _turned(gateway: Gateway, steering: "Steering", name: str, *, drained: bool) -> Turned:
    if name not in gateway.models:
        raise HTTPException(404, f"there is no model {name!r} here, only {', '.join(gateway.models)}")
    steering.drain(name, drained=drained)
    return Turned(model=name, drained=drained, inflight=gateway.models[name].tally.inside)


def unsound(error: Any) -> JSONResponse:
    """What FastAPI says of a parameter that does not fit, in OpenAI's form."""
    found = error.errors()[0]
    where = ".".join(map(str, found["loc"][1:]))
    body = {"error": {"message": f"{where}: {found['msg']}", "type": "invalid_request_error", "param": where, "code": "invalid_parameter"}}
    return JSONResponse(body, 422)
