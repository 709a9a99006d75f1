"""A vLLM that sleeps while its model is not wanted: weights wait in main memory, the GPU is free, and waking takes seconds."""

import logging

from src.serve.proxied import Proxied

LOG = logging.getLogger("mlx.serve")
PATIENCE = 120.0
"""Seconds that falling asleep and waking may take."""


class Sleeper(Proxied):
    """Is put to sleep instead of being ended; where that fails it is ended all the same, for its memory is promised to another."""

    asleep = False

    @property
    def state(self) -> str:
        """As of any engine on demand; one that died asleep begins anew when it is wanted."""
        return self.upstream.state if self.asleep else super().state

    async def load(self) -> None:
        """Wake it, or start it; raises an MlxError where it does not get ready."""
        if self.asleep:
            self._may_restart(True)
            self.asleep = False
            if self._launcher.state == "ready" and await self._does("/wake_up"):
                return
            await super().unload()
        await super().load()

    async def unload(self) -> None:
        """Put it to sleep, or end it."""
        self.asleep = self._launcher.state == "ready" and await self._does("/sleep?level=1")
        if self.asleep:
            self._may_restart(False)
        else:
            await super().unload()

    async def _does(self, path: str) -> bool:
        try:
            status, words = await self.upstream.post(path, {}, patience=PATIENCE)
        except OSError as error:
            status, words = 0, str(error).encode()
        if status != 200:
            LOG.warning("%s: vLLM answered %s to %s: %s", self.upstream.name, status, path, words[:200].decode(errors="replace"))
        return status == 200

    def _may_restart(self, may: bool) -> None:
        """Let it be started again where it dies, but not asleep: it would begin awake, in memory that is another's."""
        if not hasattr(self, "_restarts"):
            self._restarts = self._launcher.restarts
        self._launcher.restarts = self._restarts if may else 0
