"""What Scrapy takes for its scheduler: the dispatcher, and a clock that wakes the engine when a host's turn comes."""

import asyncio
import json
import sys
from typing import Any

from scrapy.core.scheduler import BaseScheduler
from scrapy.http import Request

from src.scrape.crawl.frontier import Row

_EVERY = 0.5  # seconds between two reports


class DurableScheduler(BaseScheduler):  # type: ignore[misc]
    """Hands out what the dispatcher says; nothing is queued in memory, so nothing is lost with it."""

    def __init__(self, crawler: Any) -> None:
        self.crawler = crawler
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def from_crawler(cls, crawler: Any) -> "DurableScheduler":
        """Make one."""
        return cls(crawler)

    def open(self, spider: Any) -> None:
        """Begin to report."""
        self.dispatcher = spider.dispatcher
        self.spider = spider
        self._report()

    def close(self, reason: str) -> None:
        """Report a last time, and close the file."""
        for timer in (self._timer, self._reporter):
            if timer:
                timer.cancel()
        say(**self.dispatcher.counts())
        self.dispatcher.frontier.close()

    def has_pending_requests(self) -> bool:
        """Whether a host waits for its turn."""
        return self.dispatcher.next_due() is not None

    def enqueue_request(self, request: Any) -> bool:
        """Nothing comes this way: the spider hands links to the dispatcher, with the page they stand on."""
        return False

    def next_request(self) -> Any:
        """A request whose turn it is."""
        row = self.dispatcher.next()
        if row is None:
            self._wake_later()
            return None
        return self._request(row)

    def _request(self, row: Row) -> Request:
        # a rendered page is made of many answers: none of them stands for it in the cache
        rendered = {"playwright": True, "dont_cache": True} if self.dispatcher.source.javascript and row.is_page else {}
        meta = {"row": row} | rendered
        return Request(row.url, callback=self.spider.parse, errback=self.spider.failed, meta=meta, dont_filter=True)

    def _wake_later(self) -> None:
        wait = self.dispatcher.next_due()
        if self._timer:
            self._timer.cancel()
        if wait is not None:
            self._timer = asyncio.get_running_loop().call_later(wait + 0.001, self._wake)

    def _wake(self) -> None:
        slot = self.crawler.engine._slot  # the engine has no public way to be woken, and else looks up every five seconds
        if slot:
            slot.nextcall.schedule()

    def _report(self) -> None:
        say(**self.dispatcher.counts())
        self._reporter = asyncio.get_running_loop().call_later(_EVERY, self._report)


def say(**values: Any) -> None:
    """Tell the parent process."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
