"""The least that a gateway of this make can cost: bare ASGI under uvicorn, aiohttp behind it, and nothing between them.

python python_script/gateway_floor.py PORT UPSTREAM
"""

import sys
from typing import Any

import aiohttp
import uvicorn


class Floor:
    """Passes every request on."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        if scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        self.session = self.session or aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        body = (await receive())["body"]
        async with self.session.post(self.upstream + "/chat/completions", data=body, headers={"content-type": "application/json"}) as reply:
            kept = [
                (key.lower().encode(), reply.headers[key].encode()) for key in ("Content-Type", "Content-Length") if key in reply.headers
            ]
            await send({"type": "http.response.start", "status": reply.status, "headers": kept})
            async for data in reply.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(Floor(sys.argv[2]), port=int(sys.argv[1]), log_level="error", access_log=False)
