"""The connection of a client, which tells at once when it is gone: a task that waits for it costs a tenth of a request."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINE = "mlx.line"
"""Where a request's scope has the connection."""
PUSH = "mlx.push"
"""Where a request's scope has its `Push`."""
HEAD = b"HTTP/1.1 "


class Push:
    """Writes pieces of an answer that has begun, without waiting: the short way for what comes in many pieces."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle

    @property
    def ready(self) -> bool:
        """Whether a piece can be written now."""
        cycle = self._cycle
        return (
            cycle.chunked_encoding
            and cycle.response_started
            and not (cycle.response_complete or cycle.disconnected or cycle.flow.write_paused)
        )

    def __call__(self, data: bytes) -> None:
        """Write one, where it is `ready`."""
        self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


class _Corked:
    """A transport that sends an answer's head and what comes with it in the next turn of the loop: one packet, beside those of others."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send, or hold what is a head and what follows it at once."""
        if self._held:
            self._held.append(data)
        elif data.startswith(HEAD):
            self._held.append(data)
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            held, self._held = self._held, []
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Send, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Line(HttpToolsProtocol):
    """uvicorn's, with `gone`, and with fewer and fuller packets."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.gone: Callable[[], None] | None = None
        """Called when the client is gone; set by the request under way."""
        self.lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self.transport = _Corked(transport, self.loop)  # type: ignore[assignment]

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope[LINE] = self  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """A request's task begins soon, and may write by `Push`."""
        super().on_headers_complete()
        self.scope[PUSH] = Push(self.cycle)  # type: ignore[literal-required]

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self.lost = True
        if self.gone:
            self.gone()
