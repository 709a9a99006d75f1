"""What engines ask their servers with: the lean client where it is enough, the general one for TLS and proxies."""

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from src.llm.openai import is_loopback
from src.serve.engines.wire import UnreachableError, Wire

__all__ = ["Client", "Response", "UnreachableError", "client"]


class Response(Protocol):
    """An answer whose headers are there."""

    status: int
    patience: float
    """Seconds of silence after which it is given up."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By their names in lower case."""

    async def more(self) -> bytes:
        """The next bytes of the body, none at its end."""

    async def flow(self, sink: Callable[[bytes], bool]) -> None:
        """Have `sink` take bytes as they come, as long as it says True; returns where `more` has to be asked."""

    def leave(self) -> None:
        """Have no more of it; to be called once, however it ends."""


class Client(Protocol):
    """Connections to one server."""

    @property
    def closed(self) -> bool:
        """Whether it was ended."""

    async def send(self, method: str, path: str, data: bytes = b"", *, patience: float | None = None) -> Response:
        """Send a request.

        Raises:
            UnreachableError: Where there is nobody: nothing was sent.
            TimeoutError: Where nothing comes.
            ConnectionError: Where it breaks off, or what comes is no HTTP.
        """

    async def close(self) -> None:
        """End."""


def client(url: str, *, headers: Mapping[str, str], connect_timeout: float, patience: float) -> Client:
    """A client of the server at `url`."""
    parts = urlsplit(url)
    proxied = "http" in getproxies() and not is_loopback(url) and not proxy_bypass(parts.hostname or "")
    if parts.scheme == "http" and not proxied:
        return Wire(url, headers=headers, connect_timeout=connect_timeout, patience=patience)
    from src.serve.engines.session import Session

    return Session(url, headers=headers, connect_timeout=connect_timeout, patience=patience)
