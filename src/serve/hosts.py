"""Keeps web pages away from a server on the user's own machine."""

from starlette.types import ASGIApp, Receive, Scope, Send

from src.serve.request import RequestError


class KnownHosts:
    """Lets in who calls the server by one of its names; so a web page cannot reach it by pointing its own name here."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; raises a RequestError (403)."""
        if scope["type"] == "http" and self.hosts is not None:
            host = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "")
            name = host[: host.find("]") + 1] if host.startswith("[") else host.split(":")[0]
            if name.lower() not in self.hosts:
                raise RequestError(403, "the server is not known by this host name", code="unknown_host")
        await self.app(scope, receive, send)
