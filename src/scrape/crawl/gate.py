"""The browser's only way out: a proxy on this machine that connects to what the guard allows, whatever a page asks for."""

import asyncio
import base64
import contextlib
import secrets
import socket
import threading
from urllib.parse import urlsplit

from src.scrape.crawl.guard import Guard

_CHUNK = 1 << 16
_OF_THE_HOP = (b"connection:", b"proxy-", b"keep-alive:")
_WHO = b'HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm="mlx"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
_NO = b"HTTP/1.1 403 No\r\nContent-Length: 7\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nrefused"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Gate:
    """Checks where a connection goes when it is made: pages, what they load, redirects, scripts and names that change all come by here.

    What is refused is answered 403. Others on this machine do not get by: the browser has a password.
    """

    def __init__(self, guard: Guard, *, timeout: float, limit: int) -> None:
        self.guard = guard
        self.timeout = timeout
        self.limit = limit
        """Bytes that one connection may bring."""
        self.password = secrets.token_urlsafe(16)
        self._key = b"Basic " + base64.b64encode(f"mlx:{self.password}".encode())

    def open(self) -> dict[str, str]:
        """Begin to listen, in a thread that ends with the process; the proxy as Playwright wants it told."""
        listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: asyncio.run(self._serve(listening)), daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        return {"server": address, "username": "mlx", "password": self.password, "bypass": "<-loopback>"}

    async def _serve(self, listening: socket.socket) -> None:
        async with await asyncio.start_server(self._answer, sock=listening) as server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            await self._pass((reader, writer))
        with contextlib.suppress(OSError):
            writer.close()

    async def _pass(self, browser: Streams) -> None:
        head = await asyncio.wait_for(browser[0].readuntil(b"\r\n\r\n"), self.timeout)
        first, *headers = head[:-4].split(b"\r\n")
        if not any(each.lower().startswith(b"proxy-authorization:") and each.endswith(self._key) for each in headers):
            browser[1].write(_WHO)
            await browser[1].drain()
            return
        method, target, _ = first.split(b" ", 2)
        tunnel = method == b"CONNECT"
        parts = urlsplit(f"//{target.decode()}" if tunnel else target.decode())
        site = await self._connect(parts.hostname or "", parts.port or 80)
        if site is None:
            browser[1].write(_NO)
            await browser[1].drain()
            return
        try:
            if tunnel:
                browser[1].write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}".encode()
                site[1].write(_head(b" ".join((method, path, b"HTTP/1.1")), headers))
                answer = await asyncio.wait_for(site[0].readuntil(b"\r\n\r\n"), self.timeout)
                browser[1].write(_head(*_parted(answer)))
            await self._join(browser, site)
        finally:
            site[1].close()

    async def _connect(self, host: str, port: int) -> Streams | None:
        """Connect to the very address that was looked at."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, place in found:
            if not self.guard.allows(str(place[0])):
                self.guard.refuse(host, str(place[0]))
                continue
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(str(place[0]), port), self.timeout)
        return None

    async def _join(self, browser: Streams, site: Streams) -> None:
        """Carry bytes both ways until one side ends."""
        ways = [asyncio.ensure_future(self._carry(browser[0], site[1])), asyncio.ensure_future(self._carry(site[0], browser[1]))]
        _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in rest:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        left = self.limit
        while left > 0 and (data := await source.read(_CHUNK)):
            left -= len(data)
            sink.write(data)
            await sink.drain()


def _parted(head: bytes) -> tuple[bytes, list[bytes]]:
    first, *headers = head[:-4].split(b"\r\n")
    return first, headers


def _head(first: bytes, headers: list[bytes]) -> bytes:
    """A head for one exchange on its connection, without what is between us and the one before."""
    kept = [each for each in headers if not each.lower().startswith(_OF_THE_HOP)]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])
