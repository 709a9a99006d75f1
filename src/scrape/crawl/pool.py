"""Worker processes that read pages; one page that kills its worker takes no other with it."""

import asyncio
import multiprocessing
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from src.core.child import end_with_parent
from src.scrape.crawl.extract import Page, Wanted, extract, prepare

_wanted: Wanted | None = None


class PoisonError(Exception):
    """A page that ended the process reading it, twice."""


class Pool:
    """Reads pages in `processes` processes, which end with this one."""

    def __init__(self, wanted: Wanted, processes: int) -> None:
        self.wanted = wanted
        self.processes = processes
        self._pool = self._open(processes)

    async def read(self, body: bytes, url: str, kind: str, robots_tag: str) -> Page:
        """Read a page.

        Raises:
            PoisonError: Where the process reading it ended, and again when it was alone.
        """
        pool = self._pool
        try:
            return await self._submit(pool, body, url, kind, robots_tag)
        except BrokenProcessPool:
            if self._pool is pool:  # the first of those that were in it opens another
                self._pool = self._open(self.processes)
        alone = self._open(1)
        try:
            return await self._submit(alone, body, url, kind, robots_tag)
        except BrokenProcessPool:
            raise PoisonError("the process reading it ended, twice") from None
        finally:
            alone.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _open(self, processes: int) -> ProcessPoolExecutor:
        method = "spawn" if sys.platform == "win32" else "forkserver"
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["src.scrape.crawl.extract"])
        return ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(self.wanted,))

    @staticmethod
    async def _submit(pool: ProcessPoolExecutor, body: bytes, url: str, kind: str, robots_tag: str) -> Page:
        return await asyncio.get_running_loop().run_in_executor(pool, _read, body, url, kind, robots_tag)


def _begin(wanted: Wanted) -> None:
    global _wanted
    _wanted = wanted
    prepare()
    end_with_parent()


def _read(body: bytes, url: str, kind: str, robots_tag: str) -> Page:
    assert _wanted is not None  # noqa: S101 (what _begin is for)
    # of processor time, so that a busy machine loses no page; its default action ends the process, even in the middle of C code
    timer = getattr(signal, "setitimer", None)
    if timer:
        timer(signal.ITIMER_PROF, _wanted.seconds)
    try:
        return extract(body, url, kind, robots_tag, _wanted)
    finally:
        if timer:
            timer(signal.ITIMER_PROF, 0)
