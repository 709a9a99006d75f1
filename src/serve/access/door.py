"""The door of the server: every request gets an id, and passes only with few headers, a good key, a role that may, and room left."""

import asyncio
import logging
import random
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.serve.access.audit import AuditLog
from src.serve.access.identify import Identify
from src.serve.access.json_log import REQUEST
from src.serve.access.keys import MARK
from src.serve.access.limits import Limits
from src.serve.access.visit import Visit
from src.serve.access.wrong_keys import WrongKeys
from src.serve.out import Out
from src.serve.page.page import is_page
from src.serve.request import RequestError, bug

if TYPE_CHECKING:
    from src.serve.control.metrics import Metrics

LOG = logging.getLogger("mlx.serve")
MOST_HEADERS = 100
LEFT = 499
"""What counts as the status of an answer whose client left before it began."""
_FRAMES = (b"content-length", b"transfer-encoding")
_CHANCE = random.Random(secrets.randbits(128))  # an id has to be another one, not a secret
_KEY = re.compile(rf"({MARK}[0-9a-f]+_)[\w-]+")
_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")


class Guard:
    """Who is let in, how much of what, and what is written down about it."""

    def __init__(self, identify: Identify, limits: Limits, audit: AuditLog | None) -> None:
        self.identify = identify
        self.limits = limits
        self.audit = audit
        self.at_once = limits.at_once and (audit is None or audit.at_once)
        """Whether nothing at the end of a request waits, so that nothing can cut it off."""
        self.wrong_keys = WrongKeys(identify.access.wrong_keys_per_minute)

    def write(self, entry: dict[str, Any], *, must: bool = True) -> None:
        """Write a line of the audit log.

        Raises:
            RequestError: 503 where it cannot be written and `must` be: nothing is answered that is not written down.
        """
        try:
            if self.audit:
                self.audit.write(entry)
        except OSError as error:
            LOG.error("the audit log cannot be written: %s", error.strerror)
            if must:
                raise RequestError(503, "requests cannot be written down now", kind="server_error", code="audit_unavailable") from None

    async def run(self) -> None:
        """Force the audit log to the disk while the server runs."""
        if self.audit:
            await self.audit.run()

    async def close(self) -> None:
        """End."""
        await self.limits.close()
        if self.audit:
            self.audit.close()


class Door:
    """Stands before the whole app."""

    def __init__(self, app: ASGIApp, *, guard: Guard | None, max_headers: int, metrics: "Metrics | None" = None) -> None:
        """`max_headers` is in bytes; without a guard everybody passes, and without metrics nothing is counted."""
        self.app = app
        self.guard = guard
        self.max_headers = max_headers
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is no other route, and none that is not guarded
            await send({"type": "websocket.close", "code": 1008})
            return
        start = time.perf_counter()
        answer = _Answer(send, _request_id(scope))
        mark = REQUEST.set(answer.request_id)
        try:
            self._small(scope)
            if self.guard is None or scope["path"] in self.guard.identify.access.public or is_page(scope["path"]):
                await self.app(scope, receive, answer)
            else:
                await self._guarded(self.guard, scope, receive, answer)
        except RequestError as error:
            LOG.info("denied %s %s", error.status, error.body["error"]["code"])
            await Out(answer).error(error)
        except Exception:
            LOG.exception("a request failed")
            if not answer.status:
                await Out(answer).error(bug())
        finally:
            REQUEST.reset(mark)
            if self.metrics:
                now = time.perf_counter()
                self.metrics.answered(scope["path"], answer.status or LEFT, (answer.began or now) - start, now - start)

    async def _guarded(self, guard: Guard, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        told: dict[str, Any] = {"request": answer.request_id, "client": (scope.get("client") or ("",))[0]}
        told |= {"method": scope["method"], "path": _shown(scope["path"])}
        try:
            visit = await self._visit(guard, scope, answer, told)
        except RequestError as error:
            if error.status == 401 and (refusal := guard.wrong_keys.count(told["client"])):
                raise refusal from None
            guard.write(
                {"event": "request", "decision": "denied", "reason": error.body["error"]["code"], "status": error.status, **told},
                must=False,
            )
            raise
        ended = False

        async def end(status: str = "answered") -> None:
            nonlocal ended
            if not ended:
                ended = True
                ending = self._end(guard, visit, answer, status, told)
                await (ending if guard.at_once else asyncio.shield(ending))

        try:
            guard.write({"event": "request", "decision": "allowed", **told})
            if guard.audit:
                await guard.audit.force()
            answer.before_end = end
            await self.app({**scope, "visit": visit}, receive, answer)
        finally:
            await end("cut off")

    async def _visit(self, guard: Guard, scope: Scope, answer: "_Answer", told: dict[str, Any]) -> Visit:
        caller = await guard.identify.caller(scope["headers"])
        told |= {"who": caller.id, "name": caller.name, "role": caller.role_name, "via": caller.via}
        if not caller.role.may_call(scope["path"]):
            raise RequestError(403, "this key may not call this path", kind="permission_error", code="route_not_allowed")
        visit = Visit(caller, guard.limits, answer.request_id)
        await guard.limits.enter(caller, visit.ticket)
        return visit

    async def _end(self, guard: Guard, visit: Visit, answer: "_Answer", status: str, told: dict[str, Any]) -> None:
        prompt, completion = visit.used(answer.status)
        await guard.limits.leave(visit.caller, visit.ticket, prompt + completion)
        entry = {"event": "answer", "decision": "denied" if visit.refused else status, "reason": visit.refused, "status": answer.status}
        if self.metrics and visit.model and prompt + completion:
            self.metrics.used(visit.model, prompt, completion)
        guard.write({**entry, "model": visit.model, "prompt_tokens": prompt, "completion_tokens": completion, **told}, must=False)
        if guard.audit:
            await guard.audit.force()

    def _small(self, scope: Scope) -> None:
        headers = scope["headers"]
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        framed = 0
        for key, value in headers:
            size += len(key) + len(value)
            framed += key in _FRAMES
        if framed > 1:  # a proxy before us may have taken the other one, and see two requests where we see one
            raise RequestError(
                400, "content-length and transfer-encoding exclude each other", code="bad_framing", headers={"connection": "close"}
            )
        if size > self.max_headers or len(headers) > MOST_HEADERS:
            raise RequestError(
                431, f"the headers are larger than {self.max_headers:,} bytes or more than {MOST_HEADERS}", code="headers_too_large"
            )


class _Answer:
    """Sends on, with the request's id, and notes the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0
        self.began = 0.0
        self.before_end: Callable[[], Awaitable[None]] | None = None
        """Called before the last bytes go: who has them may ask again at once, and finds the place free."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.began = time.perf_counter()
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
        elif self.before_end and not message.get("more_body"):
            await self.before_end()
        await self._send(message)


def _shown(path: str) -> str:
    """A path as it may be written down: without the key that somebody put into it."""
    return (_KEY.sub(r"\1***", path) if MARK in path else path)[:200]


def _request_id(scope: Scope) -> str:
    """The client's own where it is harmless, else a new one."""
    for key, value in scope["headers"]:
        if key == b"x-request-id" and _ID.fullmatch(value):
            return bytes(value).decode()
    return f"{_CHANCE.getrandbits(64):016x}"
