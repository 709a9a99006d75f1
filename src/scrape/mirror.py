"""Fetching from a mirror as a polite guest: one connection, a pause between requests, what was fetched is kept."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from src import __version__
from src.core.files import atomic

FORBIDDEN = ("gutenberg.org", "www.gutenberg.org", "dev.gutenberg.org", "gutenberg.net", "www.gutenberg.net")
USER_AGENT = f"mlx/{__version__} (text corpora; one connection, pauses between requests)"
_LONGEST_WAIT = 300.0
_CHUNK = 1 << 16
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class NotFoundError(Exception):
    """The mirror answered that it has no such file."""


class FetchFailedError(Exception):
    """A file could not be fetched; `reached` tells whether the mirror answered at all."""

    def __init__(self, message: str, *, reached: bool) -> None:
        super().__init__(message)
        self.reached = reached


def is_forbidden(url: str) -> bool:
    """Whether `url` is on the host that is for human readers only."""
    return (urlsplit(url).hostname or "").rstrip(".").lower() in FORBIDDEN


class Mirror:
    """Files under one address."""

    def __init__(
        self, base_url: str, *, delay: float, timeout: float, max_mb: int, tries: int = 4, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.delay = delay
        self.timeout = timeout
        self.limit = max_mb << 20
        self.tries = tries
        self.sleep = sleep
        self.requests = 0
        self._last = 0.0
        self._opener = urllib.request.build_opener(_Redirects)

    def fetch(self, path: str, to: Path) -> None:
        """Have the file at `path` in `to`; nothing is asked for where it already lies there.

        Raises:
            NotFoundError: Where the mirror has none.
            FetchFailedError: Where it could not be had after several tries.
        """
        if to.exists():
            return
        for number in range(1, self.tries + 1):
            self._pause()
            try:
                data = self._get(f"{self.base_url}/{path}")
            except (OSError, HTTPException) as error:
                self._wait_or_raise(error, path, last=number == self.tries, number=number)
                continue
            finally:
                self._last = time.monotonic()
            with atomic(to, "wb") as stream:
                stream.write(data)
            return

    def _get(self, url: str) -> bytes:
        self.requests += 1
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})  # noqa: S310 (the config takes http and https only)
        with self._opener.open(request, timeout=self.timeout) as response:
            return self._body(response)

    def _body(self, response: HTTPResponse) -> bytes:
        data = bytearray()
        until = time.monotonic() + 10 * self.timeout
        while chunk := response.read(_CHUNK):
            data += chunk
            if len(data) > self.limit:
                raise FetchFailedError(f"{response.url} is over {self.limit >> 20} MB", reached=True)
            if time.monotonic() > until:
                raise TimeoutError(f"{response.url} came too slowly")
        expected = response.headers.get("Content-Length")
        if expected and expected.isdigit() and len(data) < int(expected):
            raise ConnectionError(f"{response.url} broke off after {len(data):,} of {int(expected):,} bytes")
        return bytes(data)

    def _wait_or_raise(self, error: Exception, path: str, *, last: bool, number: int) -> None:
        pause = min(self.delay * 2**number, _LONGEST_WAIT)
        reached = isinstance(error, urllib.error.HTTPError)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            if error.code in (404, 410):
                raise NotFoundError(f"{self.base_url}/{path}") from None
            last = last or error.code not in _PASSING
            pause = max(pause, retry_after(error.headers.get("Retry-After")))
        if last or pause > _LONGEST_WAIT:
            raise FetchFailedError(f"{self.base_url}/{path}: {error}", reached=reached) from None
        self.sleep(pause)

    def _pause(self) -> None:
        left = self._last + self.delay - time.monotonic()
        if self._last and left > 0:
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


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never to the host for humans only, and never out of HTTP."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if is_forbidden(newurl) or urlsplit(newurl).scheme not in ("http", "https"):
            raise FetchFailedError(f"{req.full_url} redirects to {newurl}, which is not for programs", reached=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
