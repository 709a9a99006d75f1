"""An answer on its way to a client: status, headers, bytes as they come; and OpenAI's shapes for it."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from src.serve.request import Call

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
DONE = b"data: [DONE]\n\n"


class Body(Protocol):
    """Bytes as they come."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """End the work on what has not come yet."""


@dataclass(slots=True)
class Reply:
    """What is sent back."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Body
    """The whole of it, or its bytes as they come; who takes it closes it."""
    call: "Call | None" = None
    """What the engine was asked in the end."""
    tries: int = 1
    """How often engines were asked for it."""
    cached: bool = False
    """Whether no engine was asked: it costs its reader no tokens."""
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What is to be done once its last byte has gone, or nobody wants it any more."""

    @classmethod
    def of(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Reply":
        """A reply of one JSON value."""
        data = encoded(value)
        return cls(status, {**JSON, "content-length": str(len(data)), **(headers or {})}, data)

    async def close(self) -> None:
        """End the work on what has not come yet."""
        try:
            if not isinstance(self.body, bytes):
                await self.body.aclose()
        finally:
            for each in self.closing:
                await each()


@dataclass(frozen=True)
class Shape:
    """What all parts of one answer have in common."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, message: dict[str, Any], finish_reason: str, usage: dict[str, int]) -> dict[str, Any]:
        """A complete answer."""
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage}

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        """One event of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def last(self, usage: dict[str, int]) -> bytes:
        """The event with the token counts, after the answer."""
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Token counts in OpenAI's form."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def tool_calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls as `{"name", "arguments"}` in OpenAI's form, each with an id of its own."""
    return [
        {
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)},
        }
        for call in calls
    ]


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + encoded(value) + b"\n\n"


def encoded(value: Any) -> bytes:
    """JSON as bytes, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
