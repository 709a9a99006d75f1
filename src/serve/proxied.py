"""The engine beside the server: an OpenAI-compatible process of its own, started, watched and asked."""

import asyncio
from collections.abc import Iterable

from src.llm.launcher import Launcher
from src.serve.engines.part import UpstreamPart
from src.serve.engines.upstream import Upstream
from src.serve.reply import Reply
from src.serve.request import CHAT, COMPLETIONS, Call, UnavailableError

RETRY = {"retry-after": "5"}
PART = UpstreamPart()
PATHS = (CHAT, COMPLETIONS)


class Proxied:
    """Passes calls on to the engine that `launcher` keeps running."""

    def __init__(self, launcher: Launcher, part: UpstreamPart = PART, *, name: str | None = None, paths: Iterable[str] = PATHS) -> None:
        """Prepare; nothing is started yet.

        Args:
            launcher: Keeps the engine running.
            part: Deadlines and bounds.
            name: What the engine calls the model; what clients ask for is passed on if None.
            paths: What it answers.
        """
        self.paths = frozenset(paths)
        self._launcher = launcher
        self.on_demand = False
        """Whether `load` and `unload` decide when it runs."""
        self.upstream = Upstream(part, url=f"{launcher.url}/v1", name=name or "the engine", model=name)

    @property
    def state(self) -> str:
        """`loading`, `ready`, `resting`, `restarting`, `failed` or `stopped`; one that waits to be loaded is ready."""
        if self.on_demand and self._launcher.state in ("new", "stopped"):
            return self.upstream.state
        state = {"new": "loading", "starting": "loading"}.get(self._launcher.state, self._launcher.state)
        return self.upstream.state if state == "ready" else state

    @property
    def life(self) -> int:
        """Which of its lives the process is in: what it was told in an earlier one is forgotten."""
        return self._launcher.pid or 0

    async def run(self) -> None:
        """Start the engine and watch it until it is stopped; raises once it is given up."""
        await self.upstream.run()
        if self.on_demand:
            return
        self._launcher.start()
        if await asyncio.to_thread(self._launcher.wait_failed):
            raise self._launcher.error()

    async def load(self) -> None:
        """Start the engine; raises an MlxError where it does not get ready."""
        self._launcher.start()
        await asyncio.to_thread(self._launcher.wait)

    async def unload(self) -> None:
        """End the engine: what it held is free once it is gone."""
        await asyncio.to_thread(self._launcher.stop)

    async def look(self) -> bool:
        """Whether it runs already: never before `load`."""
        return False

    async def stop(self) -> None:
        """End the engine."""
        await asyncio.to_thread(self._launcher.stop)
        await self.upstream.stop()

    async def ask(self, call: Call) -> Reply:
        """Pass a call on.

        Raises:
            UnavailableError: 503 while the engine is not there.
        """
        self.check()
        return await self.upstream.ask(call)

    def check(self) -> None:
        """Make sure that the engine answers, as far as that is known; raises an UnavailableError (503) where it does not."""
        if self.on_demand and self._launcher.state == "failed":
            self._launcher.start()  # given up earlier; nobody else would try again
        if (state := self.state) not in ("ready", "resting"):
            raise UnavailableError(
                503, f"the engine is {state}; come back soon", kind="server_error", code="engine_unavailable", headers=RETRY
            )

    async def count(self, call: Call) -> int | None:
        """Tokens of a prompt, as the engine counts them; None where it does not."""
        return await self.upstream.count(call)
