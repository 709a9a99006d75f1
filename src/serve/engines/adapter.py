"""A trained adapter as an engine of its own: a name that is asked of the vLLM process that has its base."""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

import orjson

from src.core.secrets import redact
from src.serve.engines.part import UpstreamPart
from src.serve.engines.upstream import Upstream
from src.serve.reply import Reply
from src.serve.request import CHAT, COMPLETIONS, Call, RequestError, UnavailableError

LOG = logging.getLogger("mlx.serve")
PATIENCE = 120.0
"""Seconds that vLLM may take to load an adapter."""
_THERE = b"already been loaded"


class Process(Protocol):
    """A vLLM process, kept here (`Proxied`) or elsewhere (`Watched`)."""

    upstream: Upstream

    @property
    def state(self) -> str:
        """That of an engine."""

    @property
    def life(self) -> int:
        """Another number each time that it began anew."""

    def check(self) -> None:
        """Raises an UnavailableError where it does not answer."""


class Adapter:
    """Passes calls on to an adapter; where vLLM began anew and was not told of it at its start, it is told first."""

    paths = frozenset((CHAT, COMPLETIONS))

    def __init__(self, process: Process, part: UpstreamPart, *, name: str, path: str, told: bool) -> None:
        """Prepare; nothing is sent yet.

        Args:
            process: What serves its base.
            part: Deadlines and bounds.
            name: What clients, and vLLM, call it.
            path: Its folder, as vLLM is told of it.
            told: Whether vLLM is told of it when it starts.
        """
        self.process, self.path, self.told = process, path, told
        self.upstream = Upstream(part, url=process.upstream.url, name=name, model=name)
        self.gone = False
        """Whether it was unloaded: nothing new is asked of it."""
        self._life: int | None = None
        self._one = asyncio.Lock()

    @property
    def state(self) -> str:
        """That of the process; `resting` where it failed too often by this name."""
        if (state := self.process.state) != "ready":
            return state
        return "resting" if self.upstream.breaker.waits else "ready"

    async def run(self) -> None:
        """Prepare for calls."""
        await self.upstream.run()

    async def stop(self) -> None:
        """End; the process is another's."""
        await self.upstream.stop()

    async def ask(self, call: Call) -> Reply:
        """Pass a call on.

        Raises:
            UnavailableError: 503 while the process is not there, or does not take the adapter.
        """
        self.process.check()
        if self.upstream.state == "loading":  # it came while the server ran
            await self.upstream.run()
        if not self.told and self._life != self.process.life:
            await self._tell_again()
        try:
            return await self.upstream.ask(call)
        except UnavailableError:
            if self.gone:
                raise _unknown(self.upstream.name) from None
            raise

    async def load(self, *, anew: bool = True) -> None:
        """Tell vLLM of the adapter, in place of another one of this name where it is `anew`.

        Raises:
            RequestError: 502 with vLLM's reason where it does not take it.
        """
        life = self.process.life
        name = self.upstream.name
        status, words = await self._posted("load", {"lora_name": name, "lora_path": self.path, "load_inplace": anew})
        if status != 200 and not (status == 400 and _THERE in words):
            raise _failed(f"vLLM does not load {name!r}: {_said(words)}")
        self._life = life

    async def unload(self) -> None:
        """Have vLLM forget the adapter; answers under way go on.

        Raises:
            RequestError: 502 with vLLM's reason where it does not.
        """
        status, words = await self._posted("unload", {"lora_name": self.upstream.name})
        if status not in (200, 404):
            raise _failed(f"vLLM does not unload {self.upstream.name!r}: {_said(words)}")

    async def _tell_again(self) -> None:
        async with self._one:
            if self._life == self.process.life:
                return
            try:
                await self.load(anew=False)
            except RequestError as error:
                LOG.error("%s", error)
                raise UnavailableError(
                    503, str(error), kind="server_error", code="model_not_loaded", headers={"retry-after": "30"}
                ) from None

    async def _posted(self, what: str, body: dict[str, object]) -> tuple[int, bytes]:
        if self.upstream.state == "loading":
            await self.upstream.run()
        try:
            return await self.upstream.post(f"/v1/{what}_lora_adapter", body, patience=PATIENCE)
        except OSError:
            raise _failed("vLLM did not answer") from None


def adapter_path(folder: Path, turn: int = 0) -> str:
    """The adapter of a training as vLLM is told of it, the same in other words each `turn`: its prefix cache goes by name and path.

    Without that, new weights in the old folder would go on from what the old ones left there.
    """
    from src.models.trained import ADAPTER

    return (folder / ADAPTER).absolute().as_posix() + "/." * turn


def _unknown(name: str) -> RequestError:
    return RequestError(404, f"there is no model {name!r} here", code="model_not_found", param="model")


def _failed(words: str) -> RequestError:
    return RequestError(502, words[:500], kind="server_error", code="upstream_error")


def _said(words: bytes) -> str:
    try:
        return redact(str(orjson.loads(words)["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        return redact(words[:200].decode(errors="replace"))
