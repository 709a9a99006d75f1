"""Keeps web pages away from a server on the user's own machine."""

from starlette.types import ASGIApp, Receive, Scope, Send

from src.serve.request import RequestError

MOST = 1000  # headers that are remembered


class KnownHosts:
    """Lets in who calls the server by one of its names; so a web page cannot reach it by pointing its own name here."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts
        self._good: set[bytes] = set()
        """Headers that were found good."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; raises a RequestError (403)."""
        if scope["type"] == "http" and self.hosts is not None:
            host = next((value for key, value in scope["headers"] if key == b"host"), b"")
            if host not in self._good:
                self._check(host, self.hosts)
        await self.app(scope, receive, send)

    def _check(self, header: bytes, hosts: frozenset[str]) -> None:
        host = header.decode("latin-1")
        name = host[: host.find("]") + 1] if host.startswith("[") else host.split(":")[0]
        if name.lower() not in hosts:
            raise RequestError(403, "the server is not known by this host name", code="unknown_host")
        if len(self._good) < MOST:
            self._good.add(header)
