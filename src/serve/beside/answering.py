"""The other end of the line: answers requests until the process is asked to end."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.serve.beside.line import LONGEST, line

LOG = logging.getLogger("mlx.beside")
ENDING = (signal.SIGTERM, signal.SIGINT)
Handle = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Refused(Exception):  # noqa: N818 (a word for the line, no fault)
    """What the process does not do, with a word for the one who asked."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


async def answering(path: Path, handle: Handle, work: Coroutine[Any, Any, None]) -> None:
    """Answer on a socket at `path`, which only this user can open, until SIGTERM.

    Args:
        path: Where; a socket that is there already belonged to a process that is gone.
        handle: Does one request; several may be under way.
        work: What the process does besides; where it fails, the process ends with it, and whoever keeps it starts another.
    """
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(lambda reader, writer: _connection(reader, writer, handle), str(path), limit=LONGEST)
    finally:
        os.umask(before)
    end = asyncio.Event()
    working = asyncio.create_task(work)
    working.add_done_callback(lambda task: None if task.cancelled() or task.exception() is None else end.set())
    loop = asyncio.get_running_loop()
    for each in ENDING:
        loop.add_signal_handler(each, end.set)
    try:
        await end.wait()
    finally:
        for each in ENDING:
            loop.remove_signal_handler(each)
        server.close()
        path.unlink(missing_ok=True)
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> None:
    under_way: set[asyncio.Task[None]] = set()
    try:
        with suppress(OSError, ValueError):
            while data := await reader.readline():
                task = asyncio.create_task(_answer(json.loads(data), writer, handle))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
    finally:
        for task in under_way:
            task.cancel()
        writer.close()


async def _answer(request: dict[str, Any], writer: asyncio.StreamWriter, handle: Handle) -> None:
    told: dict[str, Any] = {"id": request["id"]}
    try:
        told["done"] = await handle(request)
    except Refused as error:
        told |= {"error": str(error), "why": error.why}
    except Exception as error:
        LOG.exception("a request failed")
        told |= {"error": type(error).__name__, "why": "failed"}
    with suppress(OSError):
        writer.write(line(told))
        await writer.drain()
