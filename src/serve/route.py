"""The chat route: from the bytes of a request to the bytes of its answer, watching whether the client is still there."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from src.serve.access.conversations import Conversations
from src.serve.access.json_log import REQUEST
from src.serve.access.meter import Meter
from src.serve.access.visit import Visit
from src.serve.engine import Engine
from src.serve.out import Out
from src.serve.request import ChatRequest, RequestError, parse

LOG = logging.getLogger("mlx.serve")


@dataclass(frozen=True)
class Patience:
    """Seconds that the parts of a request may take."""

    body: float = 30.0
    answer: float = 600.0


PATIENCE = Patience()


class Chat:
    """The chat route: bare ASGI, so that bytes pass untouched and a client that leaves is noticed at once."""

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        system: str | None,
        max_body: int,
        longest: int = 1024,
        patience: Patience = PATIENCE,
        conversations: Conversations | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.system = system
        self.max_body = max_body
        self.longest = longest
        self.patience = patience
        self.conversations = conversations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        out = Out(send)
        visit: Visit | None = scope.get("visit")
        request = None
        try:
            async with asyncio.timeout(self.patience.body):
                request = await self._request(scope, receive)
            if visit:
                await visit.admit(request, self.longest)
            async with asyncio.timeout(self.patience.answer):
                stayed = await until_gone(receive, self._answer(request, out, visit))
        except RequestError as error:
            if visit:
                visit.refused = error.body["error"]["code"] or "bad_request"
            await out.error(error)
            stayed = True
        except TimeoutError:
            await out.error(RequestError(504 if request else 408, "the request took too long", kind="server_error", code="timeout"))
            stayed = True
        except ConnectionError:
            stayed = False
        except Exception:
            LOG.exception("a chat request failed")
            await out.error(RequestError(500, "the server failed; its log says why", kind="server_error", code="internal_error"))
            stayed = True
        LOG.info("chat %s %.0f ms", out.status if stayed else "left by the client after", (time.perf_counter() - start) * 1000)

    async def _request(self, scope: Scope, receive: Receive) -> ChatRequest:
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        kind = headers.get("content-type", "application/json").split(";")[0].strip().lower()
        if kind != "application/json":
            raise RequestError(415, f"the content-type has to be application/json, not {kind[:60]!r}")
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.max_body:
            raise self._too_large()
        return parse(await self._body(receive), self.name).with_system(self.system)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            body += message.get("body", b"")
            if len(body) > self.max_body:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(body)

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the body is larger than {self.max_body:,} bytes", code="body_too_large")

    async def _answer(self, request: ChatRequest, out: Out, visit: Visit | None) -> None:
        keep = self.conversations is not None and request.body.get("store") is not False
        if visit is None and not keep:
            reply = await self.engine.chat(request)
            async with aclosing(reply.body):
                async for data in reply.body:
                    await out.data(reply, data)
            await out.end(reply)
            return
        options = request.fields.stream_options
        meter = Meter(stream=bool(request.fields.stream), told=bool(options and options.include_usage), keep=keep)
        await self._metered(request, out, visit, meter)

    async def _metered(self, request: ChatRequest, out: Out, visit: Visit | None, meter: Meter) -> None:
        if visit:
            visit.meter = meter
        reply = await self.engine.chat(request.with_usage() if request.fields.stream else request)
        async with aclosing(reply.body):
            async for data in reply.body:
                if passed := meter.feed(data):
                    await out.data(reply, passed)
        if rest := meter.end():
            await out.data(reply, rest)
        if self.conversations is not None and meter.keep and reply.status == 200:
            who = visit.caller.id if visit else None
            await asyncio.to_thread(self.conversations.keep, who, REQUEST.get() or "", request.conversation(), meter.text)
        await out.end(reply)


async def until_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work` as long as the client is there; return whether it stayed."""
    task: asyncio.Future[Any] = asyncio.ensure_future(work)
    gone: asyncio.Future[Any] = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)
