"""The server's app: hot routes as bare ASGI, all else by FastAPI; whatever comes in, errors have OpenAI's form."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from src.serve.access.budget_route import budget_route
from src.serve.access.conversations import Conversations
from src.serve.access.door import Door, Guard
from src.serve.access.visit import Visit
from src.serve.gateway.gateway import Gateway
from src.serve.hosts import KnownHosts
from src.serve.out import Out
from src.serve.page.page import Page, is_page
from src.serve.reply import Reply
from src.serve.request import CHAT, RequestError, bug
from src.serve.request_log import RequestLog
from src.serve.route import PATIENCE, Hot, Patience

if TYPE_CHECKING:
    from src.serve.control.control import Control

LOG = logging.getLogger("mlx.serve")
MODELS = "/v1/models"


def application(
    gateway: Gateway,
    *,
    max_body: int,
    hosts: frozenset[str] | None = None,
    failed: Callable[[BaseException], None] = lambda error: None,
    guard: Guard | None = None,
    max_headers: int = 16_384,
    patience: Patience = PATIENCE,
    conversations: Conversations | None = None,
    page: bool = True,
    control: "Control | None" = None,
) -> Door:
    """Make the app around the gateway, whose engines run as long as the app does.

    Args:
        gateway: The models, and what stands before them.
        max_body: Bytes that a request may have.
        hosts: Names by which the server may be called; any if None. A page of the web cannot reach it under its own name then.
        failed: Told when the last engine is given up.
        guard: Who is let in; everybody if None.
        max_headers: Bytes that a request's headers may have.
        patience: Seconds that the parts of a request may take.
        conversations: Where conversations are kept; nowhere if None.
        page: Whether there is a page at /ui.
        control: Health by model, metrics, lineage and administration; none of them if None.
    """
    log = RequestLog()
    api = FastAPI(lifespan=_lifespan(gateway, guard, failed, control, log), title="mlx", docs_url=None, redoc_url=None, openapi_url=None)
    api.state.gateway = gateway
    api.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    api.add_exception_handler(RequestError, _refused)  # type: ignore[arg-type]
    api.add_exception_handler(Exception, _bug)

    @api.get("/health")
    async def health() -> Any:
        told: dict[str, Any] = {"status": gateway.state, "model": gateway.names[0]}
        if len(gateway.models) > 1:
            told["models"] = {name: model.state for name, model in gateway.models.items()}
        if gateway.residency:
            told["residency"] = gateway.residency.status()
        return JSONResponse(told, 200 if gateway.state in ("ready", "degraded") else 503)

    if control:
        control.join(api)
    if gateway.memory:
        api.include_router(gateway.memory.routes(max_body))
    if guard:
        api.include_router(budget_route(guard.limits))
    hot = Hot(gateway, max_body=max_body, patience=patience, conversations=conversations, log=log)
    front = _Front(api, {**dict.fromkeys(gateway.paths, ("POST", hot)), MODELS: ("GET", _Models(gateway))}, Page() if page else None)
    return Door(KnownHosts(front, hosts), guard=guard, max_headers=max_headers, metrics=control.metrics if control else None)


class _Front:
    """Sends hot requests straight to their route, all others to the API."""

    def __init__(self, api: FastAPI, hot: dict[str, tuple[str, ASGIApp]], page: Page | None) -> None:
        self.api = api
        self.hot = hot
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "")
        method, route = self.hot.get(path, ("", self.page if self.page and is_page(path) else self.api))
        if method in ("", scope.get("method")):
            await route(scope, receive, send)
            return
        raise RequestError(405, "Method Not Allowed", code="method_not_allowed", headers={"allow": method})


class _Models:
    """Tells which models there are, to whom they are for."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.started = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        visit: Visit | None = scope.get("visit")
        shown = [name for name in self.gateway.names if visit is None or visit.caller.role.may_ask(name)]
        data = [{"id": name, "object": "model", "created": self.started, "owned_by": "mlx", "paths": self._paths(name)} for name in shown]
        await Out(send).whole(Reply.of({"object": "list", "data": data}))

    def _paths(self, name: str) -> list[str]:
        """What may be asked of it; a name that is routed is talked to."""
        model = self.gateway.models.get(name)
        return sorted(model.engine.paths) if model else [CHAT]


def _lifespan(
    gateway: Gateway, guard: Guard | None, failed: Callable[[BaseException], None], control: "Control | None", log: RequestLog
) -> Callable[[FastAPI], Any]:
    """Run the engines as long as the app runs; one that is given up leaves the others to answer."""
    engines = [model.engine for model in gateway.models.values()]

    def ended(task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error:
            LOG.error("an engine was given up: %s", error)
            if all(engine.state in ("failed", "stopped") for engine in engines):
                failed(error)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = [asyncio.create_task(engine.run()) for engine in engines]
        for task in running:
            task.add_done_callback(ended)
        beside = (guard, control, gateway.memory, *gateway.embedders, gateway.residency)
        guarding = [asyncio.create_task(each.run()) for each in beside if each]
        await asyncio.sleep(0)  # who needs no loading is ready for the first request
        yield
        for task in [*running, *guarding]:
            task.cancel()
        await asyncio.gather(*(each.close() for each in (gateway.shadows, gateway.residency) if each))
        await asyncio.gather(*(engine.stop() for engine in engines))
        await asyncio.gather(*running, *guarding, return_exceptions=True)
        log.flush()
        if guard:
            await guard.close()

    return lifespan


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    body = RequestError(error.status_code, str(error.detail), code=str(error.detail).lower().replace(" ", "_")).body
    return JSONResponse(body, error.status_code, {"allow": _allowed(request)} if error.status_code == 405 else error.headers)


def _allowed(request: Request) -> str:
    """All methods of a path: Starlette names those of the first route alone."""
    routes = [route for route in request.app.routes if isinstance(route, Route) and route.path_regex.match(request.scope["path"])]
    return ", ".join(sorted(set().union(*(route.methods or () for route in routes))))


async def _refused(_: Request, error: RequestError) -> JSONResponse:
    return JSONResponse(error.body, error.status, error.headers)


async def _bug(_: Request, error: Exception) -> JSONResponse:
    del error  # the door writes it into the log
    return JSONResponse(bug().body, 500)
