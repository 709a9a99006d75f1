"""The engine beside the server: an OpenAI-compatible process of its own, its bytes passed on as they come."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from src.llm.launcher import Launcher
from src.serve.reply import Reply
from src.serve.request import ChatRequest, RequestError

RETRY = {"retry-after": "5"}
KEPT = ("content-type", "content-length", "cache-control", "x-request-id")
IDLE = 300.0  # seconds without a byte after which an answer counts as lost


class Proxied:
    """Passes chat requests on to the engine that `launcher` keeps running."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._session: aiohttp.ClientSession | None = None

    @property
    def state(self) -> str:
        """`loading`, `ready`, `restarting`, `failed` or `stopped`."""
        return {"new": "loading", "starting": "loading"}.get(self._launcher.state, self._launcher.state)

    async def run(self) -> None:
        """Start the engine and watch it until it is stopped; raises once it is given up."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=IDLE),
            auto_decompress=False,
        )
        self._launcher.start()
        if await asyncio.to_thread(self._launcher.wait_failed):
            raise self._launcher.error()

    async def stop(self) -> None:
        """End the engine."""
        await asyncio.to_thread(self._launcher.stop)
        if self._session:
            await self._session.close()

    async def chat(self, request: ChatRequest) -> Reply:
        """Pass a request on.

        Raises:
            RequestError: 503 while the engine is not there.
        """
        if self._session is None or self.state != "ready":
            raise self._absent(self.state)
        try:
            response = await self._session.post(
                f"{self._launcher.url}/v1/chat/completions", data=request.raw, headers={"content-type": "application/json"}
            )
        except (aiohttp.ClientError, TimeoutError):
            raise self._absent("not answering") from None
        headers = {key: response.headers[key] for key in KEPT if key in response.headers}
        return Reply(response.status, headers, _bytes(response))

    def _absent(self, state: str) -> RequestError:
        return RequestError(503, f"the engine is {state}; try again soon", kind="server_error", code="engine_unavailable", headers=RETRY)


async def _bytes(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    async with response:  # leaving early closes the connection, which ends the engine's work on it
        async for data in response.content.iter_any():
            yield data
