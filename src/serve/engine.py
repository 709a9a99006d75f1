"""What an engine is: whatever answers calls, in this process, beside it or far away."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from src.serve.reply import Reply
    from src.serve.request import Call


class Engine(Protocol):
    """What answers calls.

    An engine that can be emptied from memory and filled again has three more: `loaded` (bool), `async load()` and
    `async unload()`; `Residency` asks for them. One on a server far away has `async probe()`; `Probes` asks for that.
    """

    paths: frozenset[str]
    """What it answers, of `CHAT`, `COMPLETIONS`, `EMBEDDINGS` and `CLASSIFY`."""

    @property
    def state(self) -> str:
        """`loading`, `ready`, `restarting`, `resting` (it failed too often, and is left alone for a while), `failed` or `stopped`."""

    async def run(self) -> None:
        """Load, and return or go on watching; raises where the engine is given up."""

    async def ask(self, call: "Call") -> "Reply":
        """Answer a call.

        Raises:
            UnavailableError: Where it cannot answer now, and another may in its place: nothing is lost yet.
            RequestError: Where no other would answer either.
        """

    async def stop(self) -> None:
        """End."""
