"""Judging many records side by side: in processes of this machine, or on a Dask or Ray cluster; the order and the rows stay the same."""

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any

from src.core.child import end_with_parent
from src.core.engine import Engine, Workers, cores
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.packed import pack, unpack
from src.core.records import Record
from src.scrape.judge import Judge

Items = Iterable[Record | Drop]
Lines = Iterator[bytes]
_BATCH = 500
_FEW = 4000
"""Records of a piece below which starting processes would take longer than judging."""


@contextmanager
def judging(judge: Judge, engine: Engine) -> Iterator[Callable[[Items], Lines]]:
    """Give what judges the records of a piece, into lines of `pack`; workers start with the first large one, and end with the block."""
    with ExitStack() as stack:
        yield _Judging(judge, engine, stack).judged


class _Judging:
    def __init__(self, judge: Judge, engine: Engine, stack: ExitStack) -> None:
        self.judge = judge
        self.engine = engine
        self.stack = stack
        self.count = (engine.threads if engine.type == "local" else engine.workers) or cores()
        self.workers: Workers | None = None

    def judged(self, items: Items) -> Lines:
        # packed first: what JSON cannot hold, such as a date in meta, has to look the same to every judge
        lines = map(pack, items)
        first = list(islice(lines, _FEW))
        if len(first) < _FEW or (self.engine.type == "local" and self.count < 2):
            yield from map(pack, self.judge.judged(map(unpack, chain(first, lines))))
            return
        workers = self.workers = self.workers or self._opened()
        rows = chain(first, lines)
        tasks = ((self.judge, batch) for batch in iter(lambda: list(islice(rows, _BATCH)), []))
        if self.engine.type == "local":
            yield from chain.from_iterable(workers.map(_judged, tasks))
            return
        while window := list(islice(tasks, 8 * self.count)):  # so that a cluster is not handed a whole file at once
            yield from chain.from_iterable(workers.map(_judged, window))

    def _opened(self) -> Workers:
        if self.engine.type == "local":
            return self.stack.enter_context(_processes(self.count))
        return self.stack.enter_context(self.engine.open())


def _judged(judge: Judge, batch: list[bytes]) -> list[bytes]:
    return list(map(pack, judge.judged(map(unpack, batch))))


@contextmanager
def _processes(count: int) -> Iterator[Workers]:
    """Processes in place of threads: what judges holds the interpreter lock."""
    method = "spawn" if sys.platform == "win32" else "forkserver"
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context(method), initializer=end_with_parent)
    try:
        yield _Pool(pool, 4 * count)
    except BrokenProcessPool:
        raise MlxError(
            "a process that judges texts has ended: for want of memory, or since it met a script without a main guard",
            'put what the script does under `if __name__ == "__main__":`, or set scrape.engine.threads=1',
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Pool:
    def __init__(self, pool: ProcessPoolExecutor, ahead: int) -> None:
        self.pool = pool
        self.ahead = ahead

    def map(self, function: Callable[..., Any], tasks: Iterable[Sequence[Any]]) -> Iterator[Any]:
        """Keep so many tasks ahead of the results, however many there are."""
        waiting: deque[Future[Any]] = deque()
        for task in tasks:
            waiting.append(self.pool.submit(function, *task))
            if len(waiting) > self.ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
