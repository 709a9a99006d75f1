"""Asks the embedder beside the server which task a prompt is, and does without an answer that does not come in time."""

from hashlib import blake2b
from typing import Any, Protocol

from src.serve.beside.line import Line, LineError
from src.serve.routing.settings import Classifier

_READ = 2000  # characters of a prompt that are compared: a sentence model reads about as many
_KEPT = 2048  # answers kept: the turns of an agent ask the same again and again
_WAITING = 64  # prompts under way; more are not sent, so that a slow process is not buried
_STATES = {"starting": "loading", "restarting": "down", "failed": "down"}


class Kept(Protocol):
    """A process beside the server."""

    line: Line

    @property
    def state(self) -> str:
        """What it says of itself."""


class Classified:
    """Finds tasks by examples.

    Args:
        settings: How.
        embedder: The process that has the examples.
    """

    def __init__(self, settings: Classifier, embedder: Kept) -> None:
        self.settings = settings
        self._embedder = embedder
        self._asked = 0
        self._known: dict[bytes, dict[str, Any]] = {}

    @property
    def state(self) -> str:
        """`loading`, `ready`, `down` or `stopped`."""
        return _STATES.get(self._embedder.state, self._embedder.state)

    async def task(self, prompt: str) -> tuple[str | None, str]:
        """The task, or None where it cannot be told, and why; never raises but where it is cancelled."""
        text = prompt[:_READ].strip()
        if not text:
            return None, "nothing said"
        key = blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            if self.state != "ready":
                return None, f"classifier {self.state}"
            if self._asked >= _WAITING:
                return None, "classifier busy"
            try:
                found = await self._ask(text)
            except LineError as error:
                return None, f"classifier {error.why if self.state == 'ready' else self.state}"
            self._keep(key, found)
        return self._judged(found)

    async def _ask(self, text: str) -> dict[str, Any]:
        self._asked += 1
        try:
            return await self._embedder.line.ask("task", within=self.settings.timeout, text=text)
        finally:
            self._asked -= 1

    def _keep(self, key: bytes, found: dict[str, Any]) -> None:
        self._known[key] = found
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]

    def _judged(self, found: dict[str, Any]) -> tuple[str | None, str]:
        task, score, margin = found["task"], found["score"], found["margin"]
        if score < self.settings.threshold:
            return None, f"no example near ({score:.2f})"
        if margin < self.settings.margin:
            return None, f"between tasks ({margin:.2f})"
        return task, f"task {task} ({score:.2f})".encode("ascii", "replace").decode()
