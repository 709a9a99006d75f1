"""Serves the page's files from memory, with headers that let it load and run nothing but them."""

from hashlib import blake2b
from pathlib import Path

from starlette.types import Receive, Scope, Send

from src.serve.out import Out
from src.serve.reply import Reply
from src.serve.request import RequestError

PATH = "/ui"
_FILES = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-cache",
}


class Page:
    """The page: its files and nothing that anybody may not see, so it needs no key; what it asks the server for does."""

    def __init__(self) -> None:
        self.files = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in sorted(_FILES.iterdir()) if path.suffix in _TYPES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await Out(send).whole(self._reply(scope))

    def _reply(self, scope: Scope) -> Reply:
        if scope["method"] not in ("GET", "HEAD"):
            raise RequestError(405, "Method Not Allowed", code="method_not_allowed", headers={"allow": "GET"})
        if scope["path"] == PATH:  # relative names in the page need the slash
            return Reply(307, {**_HEADERS, "location": "ui/", "content-length": "0"}, b"")
        name = scope["path"].removeprefix(f"{PATH}/") or "index.html"
        if name not in self.files:
            raise RequestError(404, "Not Found", code="not_found")
        data, kind = self.files[name]
        mark = f'"{blake2b(data, digest_size=12).hexdigest()}"'
        headers = {**_HEADERS, "content-type": kind, "etag": mark}
        if any(key == b"if-none-match" and mark.encode() in value for key, value in scope["headers"]):
            return Reply(304, headers, b"")
        return Reply(200, {**headers, "content-length": str(len(data))}, b"" if scope["method"] == "HEAD" else data)


def is_page(path: str) -> bool:
    """Whether a path is one of the page's."""
    return path == PATH or path.startswith(f"{PATH}/")
