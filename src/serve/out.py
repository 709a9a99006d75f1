"""Sends a reply to a client by ASGI, errors included."""

from starlette.types import Send

from src.serve.reply import Reply, event
from src.serve.request import RequestError


class Out:
    """Sends a reply; its head goes with its first bytes, so that until then an error can still take its place."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.ended = False
        self.route = ""
        """The model that answered, and why."""

    async def data(self, reply: Reply, data: bytes, *, more: bool = True) -> None:
        """Send the next bytes."""
        if not self.status:
            self.status = reply.status
            self.route = reply.headers.get("x-mlx-route", "")
            headers = [(key.encode(), value.encode("latin-1")) for key, value in reply.headers.items()]
            await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        self.ended = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def whole(self, reply: Reply) -> None:
        """Send a reply that is whole."""
        await self.data(reply, reply.body, more=False)  # type: ignore[arg-type]

    async def end(self, reply: Reply) -> None:
        """End the reply."""
        await self.data(reply, b"", more=False)

    async def error(self, error: RequestError) -> None:
        """Send the error as the reply, or where that has begun as the last event of its stream."""
        if self.ended:
            return
        if self.status:
            self.ended = True
            await self._send({"type": "http.response.body", "body": event(error.body), "more_body": False})
            return
        await self.whole(Reply.of(error.body, error.status, error.headers))
