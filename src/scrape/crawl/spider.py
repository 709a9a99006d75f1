"""What becomes of each answer: a record, a redirect, another try, or a drop with its reason."""

import logging
from typing import Any
from urllib.parse import urlsplit

import scrapy
from scrapy.exceptions import CannotResolveHostError, DownloadCancelledError, DownloadTimeoutError, IgnoreRequest, StopDownload
from scrapy.signals import headers_received

from src.core.records import Record
from src.scrape.crawl.dispatcher import Dispatcher
from src.scrape.crawl.extract import Page
from src.scrape.crawl.frontier import Row, addresses
from src.scrape.crawl.guard import Guard
from src.scrape.crawl.listing import BadListingError, feed, sitemap
from src.scrape.crawl.pool import PoisonError, Pool
from src.scrape.fetcher import retry_after

_PASSING = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
_BUSY = {429, 503}
_MOVED = {301, 302, 303, 307, 308}
_READABLE = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown")
_log = logging.getLogger(__name__)


class PageSpider(scrapy.Spider):  # type: ignore[misc]
    """Turns answers into calls of the dispatcher; every row it is given, it finishes."""

    name = "mlx"

    def __init__(self, *, dispatcher: Dispatcher, guard: Guard, pool: Pool) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.guard = guard
        self.pool = pool

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> "PageSpider":
        """Make one that looks at headers before bodies are fetched."""
        spider: PageSpider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.look_at_headers, signal=headers_received)
        return spider

    async def start(self) -> Any:
        """Ask for nothing: the scheduler knows where to begin."""
        return
        yield

    def look_at_headers(self, headers: Any, request: Any, **_: Any) -> None:
        """Fetch no film for a page."""
        row = request.meta.get("row")
        if row and row.is_page and not _is_readable(_kind(headers)):
            raise StopDownload

    async def parse(self, response: Any, **_: Any) -> None:
        """Deal with an answer."""
        row: Row = response.request.meta["row"]
        if "cached" in response.flags and "download_latency" not in response.request.meta:
            self.dispatcher.unpaced(row)
        try:
            await self._answered(row, response)
        except PoisonError as error:
            self.dispatcher.drop(row, "extract_failed", str(error))
        except Exception as error:
            _log.exception("%s", row.url)
            self.dispatcher.drop(row, "extract_failed", f"{type(error).__name__}: {error}"[:500])

    async def _answered(self, row: Row, response: Any) -> None:
        status = response.status
        rendered = "playwright" in response.flags  # through the gate, which looks where it goes
        if response.ip_address is not None and not rendered and not self.guard.allows(str(response.ip_address)):
            self.dispatcher.drop(row, "private_address", f"connected to {response.ip_address}")
        elif rendered and (private := self.guard.refused.get(host := urlsplit(response.url).hostname or "")):
            self.dispatcher.drop(row, "private_address", f"leads to {host}, which is {private}; see allow_private")
        elif status in _MOVED and response.headers.get("Location"):
            self.dispatcher.redirect(row, response.urljoin(response.headers["Location"].decode("latin-1")))
        elif status in _PASSING:
            asked = response.headers.get("Retry-After", b"").decode("latin-1")
            wait = retry_after(asked) if asked else None
            self.dispatcher.retry(row, f"http_{status}", f"HTTP {status}", wait=wait, busy=status in _BUSY)
        elif row.kind == "robots":
            self.dispatcher.robots(row, response.body if status == 200 else b"")
        elif status != 200:
            self.dispatcher.drop(row, f"http_{status}", f"HTTP {status}")
        elif row.is_page:
            await self._page(row, response)
        else:
            self._listing(row, response)

    async def _page(self, row: Row, response: Any) -> None:
        kind = _kind(response.headers)
        if not _is_readable(kind):
            self.dispatcher.drop(row, "not_html", kind)
            return
        if self.dispatcher.source.javascript and response.url.partition("#")[0] != row.url:
            self.dispatcher.redirect(row, response.url)
            return
        tag = b",".join(response.headers.getlist("X-Robots-Tag")).decode("latin-1")
        page = await self.pool.read(response.body, response.url, kind, tag)
        if page.refresh:
            self.dispatcher.redirect(row, page.refresh)
        else:
            self._read(row, page)

    def _read(self, row: Row, page: Page) -> None:
        if not self.dispatcher.scope.keeps(row.url):
            self.dispatcher.keep(row, None, page.links)
        elif page.noindex:
            self.dispatcher.drop(row, "noindex", "the page asks not to be kept", page.links)
        elif not page.text:
            self.dispatcher.drop(row, "no_text", "nothing to read on it", page.links)
        else:
            record = Record(row.key, page.text, {"source": row.key, "url": row.url} | page.meta)
            self.dispatcher.keep(row, record, page.links)

    def _listing(self, row: Row, response: Any) -> None:
        try:
            if row.kind == "feed":
                self.dispatcher.listed(row, addresses(feed(response.body, response.url)))
            else:
                pages, maps = sitemap(response.body, response.url)
                self.dispatcher.listed(row, addresses(pages), addresses(maps))
        except BadListingError as error:
            self.dispatcher.drop(row, f"not_a_{row.kind}", str(error)[:300])

    async def failed(self, failure: Any) -> None:
        """Deal with the lack of an answer."""
        row: Row = failure.request.meta["row"]
        error = failure.value
        host = urlsplit(failure.request.url).hostname or ""
        if private := self.guard.refused.get(host):
            self.dispatcher.drop(row, "private_address", f"{host} is {private}; see allow_private")
        elif isinstance(error, StopDownload):  # cut off at its headers, an answer still
            await self._answered(row, error.response)
        elif isinstance(error, DownloadCancelledError) or (isinstance(error, IgnoreRequest) and "MAXSIZE" in str(error)):
            self.dispatcher.drop(row, "too_large", f"over {self.dispatcher.source.max_page_mb} MB")
        elif isinstance(error, IgnoreRequest):
            self.dispatcher.drop(row, "not_html", str(error))
        else:
            reason = _reason(error)
            self.dispatcher.retry(row, reason, str(error)[:300] or type(error).__name__, wait=None, busy=False)


def _reason(error: Exception) -> str:
    if isinstance(error, DownloadTimeoutError):
        return "timeout"
    return "unknown_host" if isinstance(error, CannotResolveHostError) else "unreachable"


def _kind(headers: Any) -> str:
    return (headers.get("Content-Type") or b"").decode("latin-1").strip().lower()


def _is_readable(kind: str) -> bool:
    return not kind or kind.startswith(_READABLE)
