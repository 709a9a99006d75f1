"""Asks a server with OpenAI's API many things at once, over connections that stay open, and notes when each byte came."""

import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Seen:
    """What clients saw; times in seconds."""

    first: list[float] = field(default_factory=list)
    """To the first byte of an answer."""
    total: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    chunks: int = 0
    failed: int = 0
    seconds: float = 0.0
    why: list[str] = field(default_factory=list)

    def at(self, share: float, of: str = "first") -> float:
        """The time below which this share lies, in ms."""
        found = sorted(getattr(self, of))
        return found[min(len(found) - 1, int(share * len(found)))] * 1e3 if found else float("nan")

    @property
    def median(self) -> float:
        """Of the times to the first byte, in ms."""
        return statistics.median(self.first) * 1e3 if self.first else float("nan")


def request(url: str, *, model: str, stream: bool, key: str | None = None) -> bytes:
    """A chat request of some 700 bytes, as it goes over the wire."""
    said = [{"role": "system", "content": "You are a helpful assistant. " * 10}, {"role": "user", "content": "Tell me of the lamp. " * 10}]
    body = json.dumps({"model": model, "messages": said, "temperature": 0.2, "max_tokens": 100, "stream": stream}).encode()
    parts = urlsplit(url)
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\n" + (f"authorization: Bearer {key}\r\n" if key else "") + "\r\n"
    return head.encode() + body


class Client(asyncio.Protocol):
    """One connection, one answer at a time."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin."""
        self.transport = transport
        self.waiting: asyncio.Future[bool] | None = None

    def ask(self, data: bytes, seen: Seen) -> "asyncio.Future[bool]":
        """Send a request; the future says whether its answer was good."""
        self.seen, self.buffer, self.start, self.last, self.chunked = seen, b"", time.perf_counter(), 0.0, None
        self.head, self.rest = b"", 0
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.waiting

    def data_received(self, data: bytes) -> None:
        """Note what came."""
        now = time.perf_counter()
        if not self.waiting or self.waiting.done():
            return
        if self.chunked is None:
            self.buffer += data
            at = self.buffer.find(b"\r\n\r\n")
            if at < 0:
                return
            self.head, data = self.buffer[:at].lower(), self.buffer[at + 4 :]
            self.chunked = b"chunked" in self.head
            self.rest = 0 if self.chunked else int(self.head.split(b"content-length:")[1].split(b"\r\n")[0])
            if not data and not self.chunked and self.rest:
                return
        if data:
            if not self.last:
                self.seen.first.append(now - self.start)
            elif self.chunked:
                self.seen.gaps.append(now - self.last)
            self.last = now
        self._went_on(data, now)

    def _went_on(self, data: bytes, now: float) -> None:
        ok = b" 200 " in self.head[:20]
        if self.chunked:
            self.seen.chunks += data.count(b"data: {")
            self.buffer = self.buffer[-8:] + data
            if not self.buffer.endswith(b"0\r\n\r\n"):
                return
            ok = ok and b'"error"' not in self.buffer
        else:
            self.rest -= len(data)
            if self.rest > 0:
                return
        self.seen.total.append(now - self.start)
        if not ok:
            self.seen.why.append((self.head[:60] + b" " + self.buffer[-300:]).decode("latin-1"))
        self.waiting.set_result(ok)

    def connection_lost(self, error: Exception | None) -> None:
        """An answer that has not come will not."""
        if self.waiting and not self.waiting.done():
            self.seen.why.append(f"connection lost: {error}")
            self.waiting.set_result(False)


async def load(
    url: str, data: bytes, *, at_once: int, total: int | None = None, seconds: float | None = None, pause: float = 0.0, spread: float = 0.02
) -> Seen:
    """Ask `total` times, or for some `seconds`, so many at once; with a `pause` between two requests of a connection.

    Connections begin one after the other within `spread` seconds, and so stay apart where answers take the same time.
    """
    parts, seen = urlsplit(url), Seen()
    left = total if total is not None else 1 << 60
    end = time.perf_counter() + seconds if seconds else float("inf")

    async def one(number: int) -> None:
        nonlocal left
        await asyncio.sleep(number * spread / at_once)
        _, client = await asyncio.get_running_loop().create_connection(Client, parts.hostname, parts.port)
        while left > 0 and time.perf_counter() < end:
            left -= 1
            if not await client.ask(data, seen):
                seen.failed += 1
                client.transport.close()
                _, client = await asyncio.get_running_loop().create_connection(Client, parts.hostname, parts.port)
            if pause:
                await asyncio.sleep(pause)
        client.transport.close()

    start = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(at_once)))
    seen.seconds = time.perf_counter() - start
    return seen
