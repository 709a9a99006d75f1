"""Plain HTTP/1.1 to one server over connections that stay open: what a hot request needs of a client, and nothing more."""

import asyncio
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from src.serve.engines.connection import Answer, Connection

KEPT = 15.0  # seconds that a connection waits for its next request: servers end theirs after 5 to 75


class UnreachableError(ConnectionError):
    """No connection can be made: what was to be sent has not been."""


class Wire:
    """A client of one server, for http:// without a proxy."""

    def __init__(self, url: str, *, headers: Mapping[str, str], connect_timeout: float, patience: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: Of which host and port are taken.
            headers: Sent with every request.
            connect_timeout: Seconds until a connection stands.
            patience: Seconds of silence after which an answer is given up.
        """
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        told = {"host": parts.netloc.rpartition("@")[2], **headers}
        if not all(text.isprintable() for pair in told.items() for text in pair):
            raise ValueError("a header with a line break or another control character")
        self._lines = "".join(f"{key}: {value}\r\n" for key, value in told.items())
        self._connect_timeout, self._patience = connect_timeout, patience
        self._heads: dict[tuple[str, str], bytes] = {}
        self._free: list[Connection] = []
        self._open: set[Connection] = set()
        self.closed = False

    async def send(self, method: str, path: str, data: bytes = b"", *, patience: float | None = None) -> Answer:
        """Send a request; return its answer once the headers are there.

        Args:
            method: GET, POST, …
            path: On the server.
            data: The body.
            patience: Seconds, in place of the client's own.

        Raises:
            UnreachableError: Where there is nobody.
            TimeoutError: Where nothing comes.
            ConnectionError: Where it breaks off, or what comes is no HTTP.
        """
        connection = self._kept() or await self._connected()
        answer = connection.ask(self._head(method, path) + b"%d\r\n\r\n" % len(data) + data, patience or self._patience)
        try:
            while not answer.headed:
                await answer.wait()
        except BaseException:
            answer.leave()
            raise
        return answer

    async def close(self) -> None:
        """End; answers under way break off."""
        self.closed = True
        for connection in tuple(self._open):
            connection.transport.abort()

    def _head(self, method: str, path: str) -> bytes:
        found = self._heads.get((method, path))
        if found is None:
            target = quote(path, safe="/%:@!$&'()*+,;=-._~?")
            found = self._heads[method, path] = f"{method} {target} HTTP/1.1\r\n{self._lines}content-length: ".encode()
        return found

    def _kept(self) -> Connection | None:
        """The connection that was used last: those that nobody needs any more grow old."""
        oldest = time.monotonic() - KEPT
        while self._free:
            connection = self._free.pop()
            if connection.freed > oldest:
                return connection
            connection.transport.abort()
        return None

    async def _connected(self) -> Connection:
        made: Callable[[], Connection] = lambda: Connection(self._free, self._open)  # noqa: E731
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await asyncio.get_running_loop().create_connection(made, *self._address)
        except TimeoutError:
            raise
        except OSError as error:
            raise UnreachableError(str(error)) from None
        return connection
