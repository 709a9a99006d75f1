"""Puts rows of several requests into one batch: what waits while the model works goes into its next step."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from src.serve.beside.answering import Refused

Work = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass
class _Waiting:
    rows: list[Any]
    results: list[Any]
    end: float
    answer: "asyncio.Future[list[Any]]"
    begun: int = 0
    """Rows that went into a batch."""
    done: int = 0


@dataclass
class Batches:
    """Dynamic batching: a batch goes once it is full, or once its first row has waited long enough."""

    work: Work
    """Does a batch, in the thread of `pool`."""
    most: int
    """Rows of a batch."""
    wait: float
    """Seconds that a row waits for others while the model has nothing to do."""
    queue: int
    """Rows that may wait; further requests are refused."""
    sizes: deque[int] = field(default_factory=lambda: deque(maxlen=1000))
    """Rows of the last batches."""
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="model"))
    """Where batches are done; several Batches that share it take turns."""
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, rows: list[Any], within: float) -> list[Any]:
        """What `work` makes of the rows, in their order.

        Raises:
            Refused: Where too many wait, or it took longer than `within` seconds.
        """
        if self.pending + len(rows) > self.queue and self._waiting:
            raise Refused("overloaded", f"{self.pending} texts are waiting already")
        asked = _Waiting(rows, [None] * len(rows), time.monotonic() + within, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._came.set()
        return await asked.answer

    @property
    def pending(self) -> int:
        """Rows that wait."""
        return sum(len(each.rows) - each.begun for each in self._waiting)

    async def run(self) -> None:
        """Do batches until cancelled."""
        try:
            while True:
                await self._came.wait()
                if self.pending < self.most:
                    await asyncio.sleep(self.wait)
                batch = self._next()
                if batch:
                    await self._do(batch)
                if not self._waiting:
                    self._came.clear()
        finally:
            self.pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> list[tuple[_Waiting, int]]:
        """The rows that have waited longest; nothing of requests that nobody waits for any more."""
        now = time.monotonic()
        batch: list[tuple[_Waiting, int]] = []
        while self._waiting and len(batch) < self.most:
            asked = self._waiting[0]
            if asked.answer.done() or now > asked.end:
                _fail(asked, Refused("late", "nobody waits for this any more"))
                self._waiting.popleft()
                continue
            taken = min(self.most - len(batch), len(asked.rows) - asked.begun)
            batch += [(asked, place) for place in range(asked.begun, asked.begun + taken)]
            asked.begun += taken
            if asked.begun == len(asked.rows):
                self._waiting.popleft()
        return batch

    async def _do(self, batch: list[tuple[_Waiting, int]]) -> None:
        self.sizes.append(len(batch))
        try:
            rows = [asked.rows[place] for asked, place in batch]
            made = await asyncio.get_running_loop().run_in_executor(self.pool, self.work, rows)
        except Exception as error:
            for asked, _ in batch:
                _fail(asked, error)
            return
        for (asked, place), result in zip(batch, made, strict=True):
            asked.results[place] = result
            asked.done += 1
            if asked.done == len(asked.rows) and not asked.answer.done():
                asked.answer.set_result(asked.results)


def _fail(asked: _Waiting, error: Exception) -> None:
    if not asked.answer.done():
        asked.answer.set_exception(error)
