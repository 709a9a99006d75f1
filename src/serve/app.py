"""The server's routes: chat in OpenAI's form, models, health; whatever comes in, errors have OpenAI's form too."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from src.serve.access.conversations import Conversations
from src.serve.access.door import Door, Guard
from src.serve.access.visit import Visit
from src.serve.engine import Engine
from src.serve.hosts import KnownHosts
from src.serve.request import RequestError
from src.serve.route import PATIENCE, Chat, Patience

LOG = logging.getLogger("mlx.serve")


def application(
    engine: Engine,
    *,
    name: str,
    system: str | None,
    max_body: int,
    hosts: frozenset[str] | None = None,
    failed: Callable[[BaseException], None] = lambda error: None,
    guard: Guard | None = None,
    max_headers: int = 16_384,
    longest: int = 1024,
    patience: Patience = PATIENCE,
    conversations: Conversations | None = None,
) -> FastAPI:
    """Make the app around an engine, which runs as long as the app does.

    Args:
        engine: What answers.
        name: What clients call the model.
        system: Put first where a client sends no system message.
        max_body: Bytes that a request may have.
        hosts: Names by which the server may be called; any if None. A page of the web cannot reach it under its own name then.
        failed: Told when the engine is given up.
        guard: Who is let in; everybody if None.
        max_headers: Bytes that a request's headers may have.
        longest: Tokens that an answer may have.
        patience: Seconds that the parts of a request may take.
        conversations: Where conversations are kept; nowhere if None.
    """
    started = int(time.time())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(engine.run())
        running.add_done_callback(lambda task: None if task.cancelled() or not task.exception() else failed(task.exception()))  # type: ignore[arg-type]
        guarding = asyncio.create_task(guard.run()) if guard else running
        yield
        running.cancel()
        guarding.cancel()
        await engine.stop()
        await asyncio.gather(running, guarding, return_exceptions=True)
        if guard:
            await guard.close()

    app = FastAPI(lifespan=lifespan, title="mlx", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(KnownHosts, hosts=hosts)
    app.add_middleware(Door, guard=guard, max_headers=max_headers)
    chat = Chat(engine, name=name, system=system, max_body=max_body, longest=longest, patience=patience, conversations=conversations)
    app.router.routes.append(Route("/v1/chat/completions", chat, methods=["POST"]))

    @app.get("/v1/models")
    async def models(request: Request) -> Any:
        visit: Visit | None = request.scope.get("visit")
        shown = visit is None or visit.caller.role.may_ask(name)
        return {"object": "list", "data": [{"id": name, "object": "model", "created": started, "owned_by": "mlx"}] if shown else []}

    @app.get("/health")
    async def health() -> Any:
        return JSONResponse({"status": engine.state, "model": name}, 200 if engine.state == "ready" else 503)

    return app


async def _http_error(_: Request, error: HTTPException) -> JSONResponse:
    body = RequestError(error.status_code, str(error.detail), code=str(error.detail).lower().replace(" ", "_")).body
    return JSONResponse(body, error.status_code, error.headers)


async def _bug(_: Request, error: Exception) -> JSONResponse:
    LOG.error("a request failed", exc_info=error)
    return JSONResponse(RequestError(500, "the server failed; its log says why", kind="server_error", code="internal_error").body, 500)
