"""The process that has the memory: its store lives here, and no request of the server waits for it longer than it says."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from src.core.errors import MlxError
from src.serve.beside.answering import Refused, answering
from src.serve.beside.line import LineError
from src.serve.embedding.remote import RemoteEmbedder
from src.serve.memory import Memory
from src.serve.memory.add import add
from src.serve.memory.answers import found, reloaded
from src.serve.memory.bank import Bank
from src.store.failure import StoreError

LOG = logging.getLogger("mlx.memory")
T = TypeVar("T")
AGAIN = (0.5, 60.0)
"""Seconds before a store that failed is tried again: the first time, and at most."""
LETTERS = 3
"""Bytes that a token has at least in the mean, where no tokenizer is at hand: an estimate on the safe side for prose and code."""


class Remembering:
    """Answers for a memory; all that touches it happens in one thread, in the order in which it was asked.

    Args:
        config: What it consists of.
        project: Whose it is.
        embedder: Makes its vectors, of several questions at once; one of its own, in that thread, if None.
    """

    def __init__(self, config: Memory, project: str, embedder: RemoteEmbedder | None = None) -> None:
        self.config = config
        self.project = project
        self.embedder = embedder
        self.bank: Bank | None = None
        self.fault = "loading"
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="memory")

    async def keep(self) -> None:
        """Open the memory and keep it in step with its files; a store that fails is tried again, ever more rarely."""
        pause = AGAIN[0]
        while True:
            try:
                if self.embedder:
                    await self.embedder.ready()
                await self._do(self._refreshed)
                self.fault, pause = "", AGAIN[0]
                await asyncio.sleep(self.config.watch)
            except MlxError as error:
                self.fault = str(error)
                LOG.warning("memory: %s; tried again in %.0f s", error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, AGAIN[1])

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one request."""
        if request["do"] == "state":
            return self._state()
        if self.bank is None:  # its thread is busy with opening it
            raise Refused("unavailable", self.fault)
        work = {"recall": self._recall, "search": self._search, "reload": self._reload, "add": self._add}[request["do"]]
        end = time.monotonic() + float(request["within"])
        try:
            if self.embedder and "question" in request:  # before its turn: questions that wait are embedded together
                request["vector"] = await self.embedder.question(request["question"], request["within"])
            return await self._do(lambda: self._in_time(work, request, end))
        except LineError as error:
            raise Refused(error.why, f"the embedder is {error.why}") from None
        except StoreError as error:
            self.fault = str(error)
            raise Refused("unavailable", str(error)) from None

    def _in_time(self, work: Callable[[Bank, dict[str, Any]], dict[str, Any]], request: dict[str, Any], end: float) -> dict[str, Any]:
        if time.monotonic() > end:
            raise Refused("late", "nobody waits for this any more")
        if self.bank is None:
            raise Refused("unavailable", self.fault)
        return work(self.bank, request)

    def _refreshed(self) -> None:
        if self.bank is None or self.fault:
            if self.bank:
                self.bank.close()
                self.bank = None
            self.bank = self.config.open(self.project, self.embedder)
            LOG.info("memory: %d files, %d passages", self.bank.changes.files, self.bank.changes.passages)
            return
        changes = self.bank.reload()
        if changes.added or changes.forgotten:
            LOG.info("memory: %d passages added, %d forgotten", changes.added, changes.forgotten)

    def _state(self) -> dict[str, Any]:
        if self.bank is None or self.fault:
            return {"state": "loading" if self.fault == "loading" else "unavailable", "why": self.fault}
        if self.embedder and not self.embedder.line.connected:
            return {"state": "unavailable", "why": "the embedder is down"}
        return {"state": "ready", "files": len(self.bank.chunked), "passages": len(self.bank.catalogue)}

    def _recall(self, bank: Bank, request: dict[str, Any]) -> dict[str, Any]:
        quoted = bank.recall(
            request["question"],
            budget=request["budget"],
            count=_counter(request.get("tokenizer")),
            k=self.config.passages,
            special=request.get("special", ()),
            vector=request.get("vector"),
        )
        return {"text": quoted.text, "sources": [each.source for each in quoted.used]}

    def _search(self, bank: Bank, request: dict[str, Any]) -> dict[str, Any]:
        return found(bank, request["question"], request["k"], request.get("vector"))

    def _reload(self, bank: Bank, _: dict[str, Any]) -> dict[str, Any]:
        return reloaded(bank.reload())

    def _add(self, bank: Bank, request: dict[str, Any]) -> dict[str, Any]:
        file = add(
            self.config.folder,
            request["file"],
            request["text"],
            append=request["append"],
            largest=int(self.config.max_file_mb * 1e6),
            note=int(self.config.max_note_kb * 1e3),
            seal=bank.seal,
        )
        return {"file": file, **self._reload(bank, {})}

    def close(self) -> None:
        """Take no more work; what is under way ends with the process, and costs nothing that the files do not give again."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


@lru_cache(maxsize=8)
def _counter(tokenizer: str | None) -> Callable[[str], int]:
    """Count a text's tokens, by a tokenizer's file where there is one."""
    if tokenizer is None or not Path(tokenizer).is_file():
        return lambda text: len(text.encode("utf-8", "replace")) // LETTERS + 1
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(tokenizer)
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


async def main(path: str, settings: str) -> None:
    """Run until asked to end: `python -m src.serve.memory.process SOCKET FILE`, with project, memory and embedder (a socket) in JSON."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy comes: its threads wait for each other on a busy machine
    told = json.loads(Path(settings).read_text())
    embedder = RemoteEmbedder(Path(told["embedder"])) if told["embedder"] else None
    remembering = Remembering(Memory.model_validate(told["memory"]), told["project"], embedder)
    try:
        await answering(Path(path), remembering.handle, remembering.keep())
    finally:
        remembering.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main(*sys.argv[1:]))
