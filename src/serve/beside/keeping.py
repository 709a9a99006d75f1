"""Keeps processes beside several workers from the process that outlives them: a worker that dies takes none of them with it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol


class Keeps(Protocol):
    """Keeps a process."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Keep it, until cancelled."""


@contextmanager
def keeping(keepers: Sequence[Keeps]) -> Iterator[None]:
    """Let them run in a thread with a loop of its own, as long as the block does."""
    loop = asyncio.new_event_loop()

    async def keep() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*(each.run() for each in keepers))

    task = loop.create_task(keep())
    thread = threading.Thread(target=loop.run_until_complete, args=(task,), name="beside")
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
