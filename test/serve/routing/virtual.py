"""An event loop whose clock stands still while something runs, and jumps to the next timer when nothing does."""

import asyncio
import selectors


class _Selector(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self.loop = loop
        self.steps = 0

    def select(self, timeout=None):
        self.steps += 1
        assert self.steps < 100_000, "it goes on and on"
        found = super().select(0)
        if not found and timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        if not found and timeout:
            self.loop.moment += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs hours in no time."""

    def __init__(self):
        self.moment = 0.0
        super().__init__(_Selector(self))

    def time(self):
        return self.moment


def run(work):
    """Run a coroutine to its end on a virtual clock."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
