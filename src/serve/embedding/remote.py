"""The embedder beside a server, as the process of memory has it: asked on its event loop, and from the thread of its store."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.serve.beside.line import Line, LineError
from src.serve.embedding.packed import unpacked
from src.store.failure import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BULK = 300.0
"""Seconds that the vectors of a file's passages may take."""
PULSE = 0.1  # seconds between two looks
PATIENCE = 5.0  # seconds that a look may take


class RemoteEmbedder:
    """Embeds elsewhere.

    Args:
        path: The socket of the process.
    """

    def __init__(self, path: Path) -> None:
        self.line = Line(path)
        self.dimension = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ready(self) -> None:
        """Wait until it is there and has loaded.

        Raises:
            StoreError: Where it never will.
        """
        self._loop = asyncio.get_running_loop()
        while (told := await self._state())["state"] == "loading":
            await asyncio.sleep(PULSE)
        if told["state"] != "ready":
            raise StoreError(f"the embedder: {told['why']}")
        self.dimension = told["dimension"]

    async def question(self, text: str, within: float) -> "NDArray[np.float32]":
        """A question's vector, shape (dimension,).

        Raises:
            LineError: Where it cannot be had in time.
        """
        return unpacked((await self.line.ask("question", within=within, text=text))["vector"])

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Unit vectors, shape (texts, dimension); for a thread that is not the loop's.

        Raises:
            LineError: Where they cannot be had in time.
        """
        import numpy as np

        if self._loop is None:
            raise StoreError("the embedder has not been waited for")
        asking = self.line.ask("texts", within=BULK, texts=list(texts))
        found = asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        return np.stack([unpacked(each) for each in found["vectors"]])

    async def _state(self) -> dict[str, Any]:
        try:
            return await self.line.ask("state", within=PATIENCE)
        except LineError:
            return {"state": "loading"}
