"""The line to a process beside the server: requests and answers as JSON lines over a socket that only this user can open."""

import asyncio
import json
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

LONGEST = 16 << 20
"""Bytes of one line."""


class LineError(Exception):
    """No answer; `why` is `down`, `late`, or in a word what the process refused for."""

    def __init__(self, why: str, message: str = "") -> None:
        super().__init__(message or why)
        self.why = why


class Line:
    """Asks a process; many requests may be under way on the one connection, which is opened again where it broke."""

    def __init__(self, path: Path) -> None:
        """`path` is that of the socket."""
        self.path = path
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = count(1)
        self._opening = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether the process was there a moment ago."""
        return self._writer is not None

    async def ask(self, do: str, *, within: float, **what: Any) -> dict[str, Any]:
        """Ask for something, and wait no longer than `within` seconds.

        Raises:
            LineError: Where nothing is there, the time is over, or the process refuses.
        """
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                writer = await self._connected()
                if writer.is_closing():  # uvloop has an error of its own for writing to what is closed
                    raise ConnectionResetError
                self._waiting[number] = answer
                writer.write(line({"id": number, "do": do, "within": within, **what}))
                found = await answer
        except TimeoutError:
            raise LineError("late", f"no answer within {within:g} s") from None
        except OSError:
            raise LineError("down") from None
        finally:
            self._waiting.pop(number, None)
        if "error" in found:
            raise LineError(str(found.get("why", "failed")), str(found["error"]))
        done: dict[str, Any] = found["done"]
        return done

    async def close(self) -> None:
        """Let go of the connection."""
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._opening:
            if self._writer is None:
                reader, self._writer = await asyncio.open_unix_connection(str(self.path), limit=LONGEST)
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.readline():
                found = json.loads(data)
                waiting = self._waiting.get(found["id"])
                if waiting and not waiting.done():
                    waiting.set_result(found)
        except (OSError, ValueError):  # torn, or longer than a line may be
            pass
        finally:
            self._writer = None
            writer.close()
            for each in self._waiting.values():
                if not each.done():
                    each.set_exception(ConnectionResetError())
            with suppress(OSError):
                await writer.wait_closed()


def line(value: dict[str, Any]) -> bytes:
    """A value as one line."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
