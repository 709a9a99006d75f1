"""The process that has the sentence model: makes vectors for memory and finds tasks for routes, what waits in one batch."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from src.core.errors import MlxError
from src.serve.beside.answering import Refused, answering
from src.serve.beside.batches import Batches
from src.serve.embedding.embedder import Embedder, Embeds
from src.serve.embedding.packed import packed
from src.serve.routing.compared import Compared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG = logging.getLogger("mlx.embedding")
QUESTIONS = 8
"""Questions in a batch; no more, since all of them wait for the last."""
TEXTS = 2
"""Long texts in a batch: as long as that a question may have to wait."""
QUEUE = 4096
KEPT = 1024
"""Vectors kept: memory and routes ask about the same words."""


class Embedding:
    """An embedder that answers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Prepare; `run` loads."""
        self.settings = settings
        self.state: dict[str, Any] = {"state": "loading"}
        self.embedder: Embeds | None = None
        self.examples: Compared | None = None
        pool = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self.questions = Batches(self._vectors, most=QUESTIONS, wait=0, queue=QUEUE, pool=pool)
        self.texts = Batches(self._vectors, most=TEXTS, wait=0, queue=QUEUE, pool=pool)
        self._known: dict[str, NDArray[np.float32]] = {}

    async def run(self) -> None:
        """Load, then do batches, those of questions and those of texts in turn; an embedder that cannot be had is said to be failed."""
        try:
            await asyncio.to_thread(self._load)
        except MlxError as error:
            LOG.error("%s: %s", error, error.hint)
            self.state = {"state": "failed", "why": f"{error}: {error.hint}"}
            return
        LOG.info("ready")
        await asyncio.gather(self.questions.run(), self.texts.run())

    def _load(self) -> None:
        embedder: Embeds = TypeAdapter[Any](Embedder).validate_python(self.settings["embedder"]).open()
        if examples := self.settings["examples"]:
            self.examples = Compared(embedder, examples, self.settings["neighbours"])
        self.state = {"state": "ready", "dimension": embedder.dimension}
        self.embedder = embedder

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one request."""
        do, within = request["do"], request["within"]
        if do == "state":
            return self.state
        if self.embedder is None:
            raise Refused("unavailable", f"the embedder is {self.state['state']}")
        if do == "texts":
            return {"vectors": [packed(vector) for vector in await self.texts.ask(request["texts"], within)]}
        vector = await self._question(request["text"].strip(), within)
        return {"vector": packed(vector)} if do == "question" else self._task(vector)

    async def _question(self, text: str, within: float) -> "NDArray[np.float32]":
        if (vector := self._known.get(text)) is None:
            (vector,) = await self.questions.ask([text], within)
            self._known[text] = vector
            if len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
        return vector

    def _task(self, vector: "NDArray[np.float32]") -> dict[str, Any]:
        if self.examples is None:
            raise Refused("unavailable", "there are no examples")
        return self.examples.task(vector)

    def _vectors(self, texts: Sequence[str]) -> Any:
        if self.embedder is None:  # `handle` lets nothing through before
            raise RuntimeError("nothing is loaded")
        return self.embedder.embed(texts)


async def main(path: str, settings: str) -> None:
    """Run until asked to end: `python -m src.serve.embedding.process SOCKET FILE`, with embedder, examples and neighbours in JSON."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before NumPy comes: its threads wait for each other on a busy machine
        os.environ.setdefault(name, "1")
    embedding = Embedding(json.loads(Path(settings).read_text()))
    await answering(Path(path), embedding.handle, embedding.run())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main(*sys.argv[1:]))
