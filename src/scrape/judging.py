"""Judging many records side by side: in processes of this machine, or on a Dask or Ray cluster; the order and the rows stay the same."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any

from src.core.engine import Engine, Workers, cores
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.judge import Judge

Items = Iterable[Record | Drop]
_BATCH = 500
_FEW = 4000
"""Records of a piece below which starting processes would take longer than judging."""


@contextmanager
def judging(judge: Judge, engine: Engine) -> Iterator[Callable[[Items], Iterator[Record | Drop]]]:
    """Give what judges the records of a piece; workers start with the first large one, and end with the block."""
    with ExitStack() as stack:
        yield _Judging(judge, engine, stack).judged


class _Judging:
    def __init__(self, judge: Judge, engine: Engine, stack: ExitStack) -> None:
        self.judge = judge
        self.engine = engine
        self.stack = stack
        self.count = (engine.threads if engine.type == "local" else engine.workers) or cores()
        self.workers: Workers | None = None

    def judged(self, items: Items) -> Iterator[Record | Drop]:
        items = iter(items)
        first = list(islice(items, _FEW))
        if len(first) < _FEW or (self.engine.type == "local" and self.count < 2):
            yield from self.judge.judged(chain(first, items))
            return
        workers = self.workers = self.workers or self._opened()
        rows = chain(first, items)
        # a window of batches at a time, so that a cluster is not handed a whole file at once
        while batches := [batch for _ in range(4 * self.count) if (batch := list(islice(rows, _BATCH)))]:
            yield from chain.from_iterable(workers.map(_judged, [(self.judge, batch) for batch in batches]))

    def _opened(self) -> Workers:
        if self.engine.type == "local":
            return self.stack.enter_context(_processes(self.count))
        return self.stack.enter_context(self.engine.open())


def _judged(judge: Judge, batch: list[Record | Drop]) -> list[Record | Drop]:
    return list(judge.judged(batch))


@contextmanager
def _processes(count: int) -> Iterator[Workers]:
    """Processes in place of threads: what judges holds the interpreter lock."""
    method = "spawn" if sys.platform == "win32" else "forkserver"
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context(method), initializer=_begin)
    try:
        yield _Pool(pool)
    except BrokenProcessPool:
        raise MlxError(
            "a process that judges texts has ended: for want of memory, or since it met a script without a main guard",
            'put what the script does under `if __name__ == "__main__":`, or set scrape.engine.threads=1',
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Pool:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool

    def map(self, function: Callable[..., Any], tasks: Iterable[Sequence[Any]]) -> Iterator[Any]:
        yield from self.pool.map(function, *zip(*tasks, strict=True))


def _begin() -> None:
    """End with the process that started this one, also where that is killed; Ctrl-C is for that one."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
