"""An engine that another process of ours keeps: a worker asks it, and looks whether it is there."""

import asyncio
import http.client
from collections.abc import Iterable
from urllib.parse import urlsplit

from src.serve.engines.part import UpstreamPart
from src.serve.engines.upstream import Upstream
from src.serve.reply import Reply
from src.serve.request import CHAT, COMPLETIONS, Call, UnavailableError

PULSE = 1.0  # seconds between two looks
PATIENCE = 3.0  # seconds that one may take


class Watched:
    """Passes calls on to an engine at `url`, which has `/health` beside its API."""

    def __init__(self, url: str, part: UpstreamPart, *, name: str, paths: Iterable[str] = (CHAT, COMPLETIONS)) -> None:
        self._url = url
        self.paths = frozenset(paths)
        self._there: bool | None = None
        self.life = 0
        """How often it came: what it was told before is forgotten."""
        self.upstream = Upstream(part, url=f"{url}/v1", name=name, model=name)

    @property
    def state(self) -> str:
        """`loading`, `ready`, `resting`, `restarting` or `stopped`."""
        if self._there:
            return self.upstream.state
        return "loading" if self._there is None else "restarting"

    async def run(self) -> None:
        """Look after it."""
        await self.upstream.run()
        while True:
            before = self._there
            self._there = await asyncio.to_thread(self._answers) or (None if self._there is None else False)
            self.life += bool(self._there and not before)
            await asyncio.sleep(PULSE if self._there else PULSE / 4)

    async def ask(self, call: Call) -> Reply:
        """Pass a call on; raises an UnavailableError while the engine is not there."""
        self.check()
        return await self.upstream.ask(call)

    async def count(self, call: Call) -> int | None:
        """Tokens of a prompt, as the engine counts them; None where it does not."""
        return await self.upstream.count(call)

    def check(self) -> None:
        """Make sure that the engine was there when it was last looked at; raises an UnavailableError (503) where it was not."""
        if not self._there:
            raise UnavailableError(
                503,
                f"the engine is {self.state}; come back soon",
                kind="server_error",
                code="engine_unavailable",
                headers={"retry-after": "5"},
            )

    async def stop(self) -> None:
        """End."""
        await self.upstream.stop()

    def _answers(self) -> bool:
        parts = urlsplit(self._url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
