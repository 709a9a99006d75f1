"""Fetching as a polite guest: one connection, a pause between requests, Retry-After honoured, private addresses refused."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from src import __version__
from src.scrape.addresses import RefusedError, connect
from src.scrape.http_cache import HttpCache, Kept

FORBIDDEN = ("gutenberg.org", "www.gutenberg.org", "dev.gutenberg.org", "gutenberg.net", "www.gutenberg.net")
USER_AGENT = f"mlx/{__version__} (text corpora; one connection, pauses between requests)"
_LONGEST_WAIT = 300.0
_CHUNK = 1 << 16
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class NotFoundError(Exception):
    """The server answered that it has no such thing."""


class FetchFailedError(Exception):
    """Something could not be fetched."""

    def __init__(self, message: str, *, status: int = 0, body: bytes = b"", reached: bool | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.reached = bool(status) if reached is None else reached
        """Whether the server answered at all."""


def is_forbidden(url: str) -> bool:
    """Whether `url` is on the host that is for human readers only."""
    return (urlsplit(url).hostname or "").rstrip(".").lower() in FORBIDDEN


class Fetcher:
    """Fetches one thing at a time, and keeps in `cache` what may be kept."""

    def __init__(
        self,
        *,
        delay: float,
        timeout: float,
        max_mb: int,
        allow_private: bool = False,
        proxy: bool = False,
        tries: int = 4,
        hosts: Collection[str] = (),
        cache: HttpCache | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.delay = delay
        self.timeout = timeout
        self.limit = max_mb << 20
        self.tries = tries
        self.hosts = frozenset(hosts)
        """The only hosts that are asked, redirects included; empty for any."""
        self.cache = cache
        self.sleep = sleep or time.sleep
        self.requests = 0
        self._last: dict[str, float] = {}
        # behind a proxy it is the proxy that looks addresses up, so nothing can be checked here
        proxies = urllib.request.ProxyHandler(None if proxy else {})
        self._opener = urllib.request.build_opener(proxies, _Redirects(self), _Http(allow_private or proxy), _Https(allow_private or proxy))

    def get(self, url: str, *, hidden: Mapping[str, str] | None = None, wait: Callable[[bytes], float] | None = None) -> bytes:
        """Return the body of what is at `url`.

        Args:
            url: What to fetch; it is the name in the cache.
            hidden: Query parameters that are sent, and are in no message and no cache: keys.
            wait: Tells from the body of a refusal how many seconds to wait at least.

        Raises:
            NotFoundError: Where the server has none.
            FetchFailedError: Where it could not be had after several tries.
        """
        self.check(url)
        kept = self.cache.find(url) if self.cache else None
        if kept and kept.is_fresh:
            return kept.body
        for number in range(1, self.tries + 1):
            self._pause(url)
            try:
                return self._ask(url, hidden or {}, kept)
            except RefusedError as error:
                raise FetchFailedError(f"{url}: {error}") from None
            except (OSError, HTTPException) as error:
                self._wait_or_raise(error, url, number, wait)
            finally:
                self._last[_host(url)] = time.monotonic()
        raise AssertionError("the last try returns or raises")

    def check(self, url: str) -> None:
        """Fail on an address that is not to be asked."""
        if is_forbidden(url) or urlsplit(url).scheme not in ("http", "https") or (self.hosts and _host(url) not in self.hosts):
            raise FetchFailedError(f"{url} is not for programs, or not a host of this source", reached=True)

    def _ask(self, url: str, hidden: Mapping[str, str], kept: Kept | None) -> bytes:
        self.requests += 1
        full = f"{url}{'&' if '?' in url else '?'}{urlencode(hidden)}" if hidden else url
        headers = {"User-Agent": USER_AGENT} | (kept.conditions if kept else {})
        request = urllib.request.Request(full, headers=headers)  # noqa: S310 (check() takes http and https only)
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                body = self._body(response, url)
                if self.cache:
                    self.cache.keep(url, response.headers, body)
                return body
        except urllib.error.HTTPError as error:
            if error.code != 304 or not kept or not self.cache:
                raise
            self.cache.renew(kept, error.headers)
            error.close()
            return kept.body

    def _body(self, response: HTTPResponse, url: str) -> bytes:
        data = bytearray()
        until = time.monotonic() + 10 * self.timeout
        while chunk := response.read(_CHUNK):
            data += chunk
            if len(data) > self.limit:
                raise FetchFailedError(f"{url} is over {self.limit >> 20} MB", reached=True)
            if time.monotonic() > until:
                raise TimeoutError(f"{url} came too slowly")
        expected = response.headers.get("Content-Length")
        if expected and expected.isdigit() and len(data) < int(expected):
            raise ConnectionError(f"{url} broke off after {len(data):,} of {int(expected):,} bytes")
        return bytes(data)

    def _wait_or_raise(self, error: Exception, url: str, number: int, wait: Callable[[bytes], float] | None) -> None:
        pause, status, body = min(self.delay * 2**number, _LONGEST_WAIT), 0, b""
        last = number == self.tries
        if isinstance(error, urllib.error.HTTPError):
            status, body = error.code, _start(error)
            if status in (404, 410):
                raise NotFoundError(url) from None
            last = last or status not in _PASSING
            pause = max(pause, retry_after(error.headers.get("Retry-After")), wait(body) if wait else 0.0)
        if last or pause > _LONGEST_WAIT:
            raise FetchFailedError(f"{url}: {error}", status=status, body=body) from None
        self.sleep(pause)

    def _pause(self, url: str) -> None:
        last = self._last.get(_host(url))
        if last is not None and (left := last + self.delay - time.monotonic()) > 0:
            self.sleep(left)


def retry_after(value: str | None) -> float:
    """Seconds that a `Retry-After` header asks for: a number, or a date; 0 where it says nothing."""
    if not value:
        return 0.0
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _start(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(_CHUNK)
    except (OSError, HTTPException):
        return b""
    finally:
        error.close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to what may be asked, and so never out of HTTP."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self.fetcher.check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, allow_private: bool) -> None:
        super().__init__()
        self.make = partial(_guarded, HTTPConnection, allow_private)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self.make, req)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, allow_private: bool) -> None:
        super().__init__()
        self.make = partial(_guarded, HTTPSConnection, allow_private)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self.make, req)  # type: ignore[arg-type]


def _guarded(kind: type[HTTPConnection], allow_private: bool, *args: Any, **settings: Any) -> HTTPConnection:
    connection = kind(*args, **settings)
    connection._create_connection = partial(connect, allow_private=allow_private)  # type: ignore[attr-defined]
    return connection
