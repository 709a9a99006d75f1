"""The hot routes: from the bytes of a request to the bytes of its answer, watching whether the client is still there."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.types import Receive, Scope, Send

from src.serve.access.conversations import Conversations
from src.serve.access.json_log import REQUEST
from src.serve.access.meter import Meter
from src.serve.access.visit import Visit
from src.serve.gateway.ask import ask
from src.serve.gateway.gateway import Gateway
from src.serve.line import LINE, PUSH, Line, Push
from src.serve.out import Out
from src.serve.parse import parse
from src.serve.reply import Body, Reply
from src.serve.request import CHAT, CLASSIFY, EMBEDDINGS, Call, RequestError, bug
from src.serve.request_log import RequestLog

LOG = logging.getLogger("mlx.serve")


@dataclass(frozen=True)
class Patience:
    """Seconds that the parts of a request may take."""

    body: float = 30.0
    answer: float = 600.0


PATIENCE = Patience()


class Hot:
    """Chat, completions and embeddings: bare ASGI, so that bytes pass untouched and a client that leaves is noticed at once."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        max_body: int,
        patience: Patience = PATIENCE,
        conversations: Conversations | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self.gateway = gateway
        self.max_body = max_body
        self.patience = patience
        self.conversations = conversations
        self.log = log or RequestLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        out = Out(send)
        visit: Visit | None = scope.get("visit")
        stayed, read = True, False
        try:
            async with asyncio.timeout(self.patience.body) as clock:
                call = await self._call(scope, receive, visit)
                read = True
                clock.reschedule(asyncio.get_running_loop().time() + self.patience.answer)
                stayed = await self._answered(call, scope, receive, out, clock)
        except RequestError as error:
            if visit:
                visit.refused = error.body["error"]["code"] or "bad_request"
            await out.error(error)
        except TimeoutError:
            await out.error(RequestError(504 if read else 408, "the request took too long", kind="server_error", code="timeout"))
        except ConnectionError:
            stayed = False
        except Exception:
            LOG.exception("a request failed")
            await out.error(bug())
        self.log.note(scope["path"], out.status if stayed else "left by the client after", (time.perf_counter() - start) * 1000, out.route)

    async def _call(self, scope: Scope, receive: Receive, visit: Visit | None) -> Call:
        kind = declared = b""
        for key, value in scope["headers"]:
            if key == b"content-type":
                kind = value.partition(b";")[0].strip().lower()
            elif key == b"content-length":
                declared = value
            elif key == b"content-encoding" and value.strip().lower() != b"identity":
                raise RequestError(415, "the body has to come as it is, without a content-encoding")
        if kind not in (b"application/json", b""):
            raise RequestError(415, f"the content-type has to be application/json, not {kind[:60].decode('latin-1')!r}")
        if declared.isdigit() and int(declared) > self.max_body:
            raise self._too_large()
        call = parse(await self._body(receive), scope["path"])
        call.headers, call.visit = scope["headers"], visit
        if visit:
            visit.permit(call.model)
        return call

    async def _body(self, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body") and len(message["body"]) <= self.max_body:
            body: bytes = message["body"]
            return body
        pieces = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise ConnectionError
            pieces += message.get("body", b"")
            if len(pieces) > self.max_body:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(pieces)
            message = await receive()

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the body is larger than {self.max_body:,} bytes", code="body_too_large")

    async def _answered(self, call: Call, scope: Scope, receive: Receive, out: Out, clock: asyncio.Timeout) -> bool:
        """Answer as long as the client is there; return whether it stayed."""
        work: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        gone = False

        def left(_: object = None) -> None:
            nonlocal gone
            if not out.ended:
                gone = True
                work.cancel()

        line: Line | None = scope.get(LINE)
        if line and line.lost:
            return False
        watch = None if line else asyncio.ensure_future(receive())  # says http.disconnect, or nothing
        if line:
            line.gone = left
        elif watch:
            watch.add_done_callback(left)
        try:
            await self._answer(call, out, clock, scope.get(PUSH))
        except asyncio.CancelledError:
            if not gone:
                raise
            work.uncancel()
            return False
        finally:
            if line:
                line.gone = None
            elif watch:
                watch.remove_done_callback(left)
                watch.cancel()
        return True

    async def _answer(self, call: Call, out: Out, clock: asyncio.Timeout, push: Push | None) -> None:
        keep = self.conversations is not None and call.path not in (EMBEDDINGS, CLASSIFY) and call.body.get("store") is not False
        meter = None
        if call.visit or keep:
            told = bool((call.body.get("stream_options") or {}).get("include_usage"))
            meter = Meter(stream=call.stream, told=told, keep=keep)
            if call.visit:
                call.visit.meter = meter
            call.metered = not told
        reply = await ask(self.gateway, call, clock)
        if reply.cached and call.visit:
            call.visit.meter = None
        try:
            await self._passed(call, reply, out, meter, push)
        finally:
            await reply.close()

    async def _passed(self, call: Call, reply: Reply, out: Out, meter: Meter | None, push: Push | None) -> None:
        if isinstance(reply.body, bytes):
            if meter:
                meter.feed(reply.body)
                meter.end()
                await self._keep(reply.call or call, meter, reply)
            await out.whole(reply)
            return
        await _streamed(reply.body, partial(out.data, reply), meter, push)
        if meter:
            await self._keep(reply.call or call, meter, reply)
        await out.end(reply)

    async def _keep(self, call: Call, meter: Meter, reply: Reply) -> None:
        if self.conversations is None or not meter.keep or reply.status != 200 or call.path != CHAT:
            return
        answered = reply.headers.get("x-mlx-route", "").partition(";")[0] or call.model
        keep = partial(self.conversations.keep, model=answered, tools=call.tools(), calls=meter.calls)
        await asyncio.to_thread(keep, call.who, REQUEST.get() or "", call.conversation(), meter.text)


async def _streamed(body: Body, send: Callable[[bytes], Awaitable[None]], meter: Meter | None, push: Push | None) -> None:
    """Send a body as it comes: by `push` in the turn of the loop in which a piece comes, where body and connection allow that."""
    take: Callable[[bytes], bytes] = meter.feed if meter else bytes

    def pushed(data: bytes) -> bool:
        if push is None or not push.ready:
            return False
        if passed := take(data):
            push(passed)
        return True

    flow = getattr(body, "flow", None) if push else None
    async for data in body:
        if passed := take(data):
            await send(passed)
        if flow:
            await flow(pushed)
    if meter and (rest := meter.end()):
        await send(rest)
