"""aiohttp with the few words of `Wire`: for servers behind TLS or a proxy, whose distance costs more than any client."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp

from src.llm.openai import is_loopback
from src.serve.engines.wire import UnreachableError


class Session:
    """A client of one server."""

    def __init__(self, url: str, *, headers: Mapping[str, str], connect_timeout: float, patience: float) -> None:
        """As `Wire` is made."""
        parts = urlsplit(url)
        self._root = f"{parts.scheme}://{parts.netloc}"
        self._connect_timeout, self._patience = connect_timeout, patience
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=not is_loopback(url),
            auto_decompress=False,
            headers=headers,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )

    @property
    def closed(self) -> bool:
        """Whether it was ended."""
        return self._session.closed

    async def send(self, method: str, path: str, data: bytes = b"", *, patience: float | None = None) -> "Received":
        """Send a request; return its answer once the headers are there, and raise as `Wire.send` does."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=patience or self._patience)
        with _told():
            return Received(
                await self._session.request(method, self._root + path, data=data or None, timeout=timeout, allow_redirects=False)
            )

    async def close(self) -> None:
        """End."""
        await self._session.close()


class Received:
    """What a server answers."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def patience(self) -> float:
        """Seconds of silence after which it is given up."""
        return 0.0 if self._protocol is None else self._protocol.read_timeout or 0.0

    @patience.setter
    def patience(self, seconds: float) -> None:
        if self._protocol is not None:  # an empty one is false
            self._protocol.read_timeout = seconds
            self._protocol.start_timeout()  # from now, not from the next piece

    async def more(self) -> bytes:
        """The next bytes of the body, none at its end."""
        with _told():
            return await self._response.content.readany()

    async def flow(self, sink: Callable[[bytes], bool]) -> None:
        """Leaves all bytes to `more`."""

    def leave(self) -> None:
        """Have no more of it."""
        self._response.release() if self._response.content.at_eof() else self._response.close()

    @property
    def _protocol(self) -> "aiohttp.client_proto.ResponseHandler | None":
        return self._response.connection.protocol if self._response.connection else None


@contextmanager
def _told() -> Iterator[None]:
    """Errors as Python names them."""
    try:
        yield
    except (TimeoutError, asyncio.CancelledError):
        raise
    except aiohttp.ClientConnectorError as error:
        raise UnreachableError(str(error)) from None
    except aiohttp.ClientError as error:
        raise ConnectionError(str(error)) from None
