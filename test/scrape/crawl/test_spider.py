"""What becomes of answers that a small site does not give."""

import asyncio
import re
from pathlib import Path

import pytest
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    StopDownload,
)
from scrapy.http import HtmlResponse, Request, Response
from scrapy.settings import Settings
from twisted.python.failure import Failure

from src.scrape.crawl import pool as pool_module
from src.scrape.crawl import scheduler as scheduler_module
from src.scrape.crawl.cache import SqliteStorage
from src.scrape.crawl.canonical import address
from src.scrape.crawl.dispatcher import Dispatcher
from src.scrape.crawl.extract import Wanted, extract
from src.scrape.crawl.guard import Guard
from src.scrape.crawl.job import Job
from src.scrape.crawl.pool import PoisonError
from src.scrape.crawl.scheduler import DurableScheduler
from src.scrape.crawl.settings import settings
from src.scrape.crawl.spider import PageSpider
from src.scrape.web import WebSource

HOME = "http://a.example/"
BODY = b"<html><body><article>" + b"<p>Words to read, and more of them to come.</p>" * 9 + b"</article></body></html>"


class Inline:
    """A pool without processes."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def read(self, *page):
        if self.error:
            raise self.error
        return extract(*page, Wanted(self.scope, {}, comments=False))


@pytest.fixture
def spider():
    source = WebSource(start=HOME, delay=0, tries=1)
    job = Job(source=source, frontier=Path("f.sqlite"), cache=Path("c.sqlite"))
    made = PageSpider.from_crawler(Crawler(PageSpider, Settings()), dispatcher=Dispatcher(job), guard=Guard(), pool=Inline())
    made.pool.scope = made.dispatcher.scope
    made.dispatcher.robots(made.dispatcher.next(), b"")
    yield made
    made.dispatcher.frontier.close()


def results(spider) -> dict[str, str]:
    return {each.id: getattr(each, "reason", "kept") for each in spider.dispatcher.frontier.results()}


def give(spider, error=None, **response) -> dict[str, str]:
    row = spider.dispatcher.next()
    request = Request(row.url, meta={"row": row})
    if error is None:
        defaults = {"status": 200, "headers": {"Content-Type": "text/html"}, "body": BODY}
        asyncio.run(spider.parse(HtmlResponse(row.url, request=request, **(defaults | response))))
    else:
        failure = Failure(error)
        failure.request = request
        asyncio.run(spider.failed(failure))
    return results(spider)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DownloadTimeoutError("x"), "timeout"),
        (CannotResolveHostError("x"), "unknown_host"),
        (DownloadFailedError("x"), "unreachable"),
        (DownloadCancelledError("x"), "too_large"),
        (IgnoreRequest("exceeded DOWNLOAD_MAXSIZE"), "too_large"),
    ],
)
def test_failures(spider, error: Exception, reason: str) -> None:
    assert give(spider, error) == {HOME: reason}


def test_a_body_cut_off_at_its_headers_is_an_answer(spider) -> None:
    row = spider.dispatcher.next()
    request = Request(HOME, meta={"row": row})
    headers = {b"Content-Type": b"video/mp4"}
    with pytest.raises(StopDownload) as stopped:
        spider.look_at_headers(Response(HOME, headers=headers).headers, request)
    stopped.value.response = Response(HOME, headers=headers, request=request)
    failure = Failure(stopped.value)
    failure.request = request
    asyncio.run(spider.failed(failure))
    assert results(spider) == {HOME: "not_html"}
    spider.look_at_headers(Response(HOME, headers=headers).headers, Request(HOME))


def test_the_connected_address_is_looked_at_too(spider) -> None:
    import ipaddress

    assert give(spider, ip_address=ipaddress.ip_address("10.0.0.1")) == {HOME: "private_address"}


def test_a_bug_in_reading_is_a_drop_that_names_it(spider, caplog) -> None:
    spider.pool.error = RuntimeError("oh")
    assert give(spider) == {HOME: "extract_failed"}
    assert "RuntimeError: oh" in caplog.text


def test_a_page_that_kills_its_process_is_a_drop(spider) -> None:
    spider.pool.error = PoisonError("it ended")
    assert give(spider) == {HOME: "extract_failed"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "kept"),
        ({"status": 403}, "http_403"),
        ({"status": 503, "headers": {"Retry-After": "5"}}, "http_503"),
        ({"headers": {"Content-Type": "text/html", "X-Robots-Tag": "noindex"}}, "noindex"),
        ({"body": b""}, "no_text"),
        ({"headers": {"Content-Type": "application/pdf"}}, "not_html"),
        ({"status": 301, "headers": {"Location": HOME}}, "redirect_loop"),
    ],
)
def test_answers(spider, answer, reason: str) -> None:
    assert give(spider, **answer) == {HOME: reason}


def listing(spider, body: bytes) -> dict[str, str]:
    request = Request(f"{HOME}list", meta={"row": (row := spider.dispatcher.next())})
    asyncio.run(spider.parse(Response(row.url, request=request, body=body)))
    return results(spider)


def test_lists(spider) -> None:
    give(spider)
    add = spider.dispatcher.frontier.add
    for kind, good in (("sitemap", b"<urlset><url><loc>/1</loc></url></urlset>"), ("feed", b'{"items": [{"url": "/2"}]}')):
        for name in ("good", "poor"):
            add([address(f"{HOME}{kind}-{name}")], kind=kind, depth=-1)
            spider.dispatcher.turns.wait(spider.dispatcher.turns.host("a.example"), 0)
            found = listing(spider, good if name == "good" else b"no")
        assert found[f"{HOME}{kind}-poor"] == f"not_a_{kind}"
    assert spider.dispatcher.frontier.leads_to(HOME, HOME)
    assert {spider.dispatcher.next().url for _ in range(2)} == {f"{HOME}1", f"{HOME}2"}


def test_pages_kept_out_by_include_are_only_read_for_links(spider) -> None:
    spider.dispatcher.scope._include = re.compile("/kept")
    body = BODY.replace(b"</article>", b"<a href='/kept'>x</a><a href='/not'>x</a></article>")
    assert give(spider, body=body) == {}
    assert give(spider) == {f"{HOME}kept": "kept"}
    assert spider.dispatcher.next() is None


def test_a_page_that_sends_its_reader_on_at_once(spider) -> None:
    body = b"<html><head><meta http-equiv=refresh content='0;url=/next'></head></html>"
    assert give(spider, body=body) == {}
    assert spider.dispatcher.next().url == f"{HOME}next"


def test_robots_txt_of_any_other_status_forbids_nothing(spider) -> None:
    spider.dispatcher.frontier.add([address("http://b.example/")], kind="start", depth=0)
    spider.dispatcher.turns.wait(spider.dispatcher.turns.host("b.example"), -1)
    assert give(spider, status=403, body=b"Disallow: /") == {}
    assert spider.dispatcher.turns.host("b.example").robots.can_fetch("http://b.example/", "x")


def test_names_that_led_inside_are_private(spider) -> None:
    spider.guard.refuse("a.example", "10.0.0.1")
    assert give(spider, CannotResolveHostError("x")) == {HOME: "private_address"}


def test_the_work_of_a_process(spider, monkeypatch) -> None:
    monkeypatch.setattr(pool_module.signal, "signal", lambda *_: None)
    pool_module._begin(Wanted(spider.dispatcher.scope, {}, comments=False))
    assert "Words to read" in pool_module._read(BODY, HOME, "text/html", "").text


def test_answers_of_the_cache_are_not_paced(spider) -> None:
    assert give(spider, flags=["cached"]) == {HOME: "kept"}
    assert spider.dispatcher.turns.host("a.example").next_at == 0


def test_every_open_port_and_unsafe_handler_is_off() -> None:
    source = WebSource(start=HOME, max_page_mb=2)
    made = settings(Job(source=source, frontier=Path("f"), cache=Path("c")), Guard())
    assert made["EXTENSIONS_BASE"] == made["SPIDER_MIDDLEWARES_BASE"] == {}
    assert not (made["TELNETCONSOLE_ENABLED"] or made["REMOTE_CONTROL_ENABLED"] or made["HTTPPROXY_ENABLED"] or made["COOKIES_ENABLED"])
    assert made["DOWNLOAD_HANDLERS"] == dict.fromkeys(("file", "data", "ftp", "s3"))
    assert made["DOWNLOAD_VERIFY_CERTIFICATES"] is True
    assert made["DOWNLOAD_MAXSIZE"] == 2 << 20
    assert not any("roxy" in each or "ookie" in each for each in made["DOWNLOADER_MIDDLEWARES_BASE"])


def test_the_scheduler_wakes_the_engine_when_a_turn_comes(spider, capsys) -> None:
    class Slot:
        class nextcall:
            woken = 0

            @classmethod
            def schedule(cls):
                cls.woken += 1

    class Engine:
        class engine:
            _slot = Slot

    async def main() -> None:
        made = DurableScheduler.from_crawler(Engine)
        made.open(spider)
        assert made.has_pending_requests()
        assert not made.enqueue_request(None)
        request = made.next_request()
        assert request.url == HOME
        spider.dispatcher.retry(request.meta["row"]._replace(tries=-9), "http_500", "", wait=0.05, busy=True)
        assert made.next_request() is None
        assert made.next_request() is None
        await asyncio.sleep(0.12)
        assert Slot.nextcall.woken == 1
        made.close("finished")

    scheduler_module._EVERY = 0.02
    asyncio.run(main())
    assert '"queue": 1' in capsys.readouterr().out


def test_the_cache_gives_back_what_it_was_given(spider) -> None:
    class Mark:
        def fingerprint(self, request):
            return request.url.encode()

    spider.crawler.request_fingerprinter = Mark()
    storage = SqliteStorage({"HTTPCACHE_DIR": "deep/pages.sqlite"})
    assert storage.retrieve_response(spider, Request(HOME)) is None
    storage.open_spider(spider)
    assert storage.retrieve_response(spider, Request(HOME)) is None
    for body in (b"old", b"<p>caf\xc3\xa9"):
        storage.store_response(spider, Request(HOME), HtmlResponse(HOME, headers={"ETag": "1", "Content-Type": "text/html"}, body=body))
    found = storage.retrieve_response(spider, Request(HOME))
    assert (type(found), found.status, found.body, found.headers["ETag"]) == (HtmlResponse, 200, b"<p>caf\xc3\xa9", b"1")
    storage.close_spider(spider)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name where to begin"),
        ({"start": "example.org"}, "no address like"),
        ({"start": HOME, "include": "("}, "no regular expression"),
        ({"sitemaps": "robots"}, "needs a `start`"),
        ({"start": HOME, "selectors": {"url": "a"}}, "takes no selector"),
        ({"start": HOME, "allow_private": ["10.0.0.0/99"]}, "no network like"),
    ],
)
def test_configs_that_say_nothing_sensible(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WebSource(**settings)


def test_a_shard_has_to_exist() -> None:
    from src.scrape.web import Shard

    with pytest.raises(ValueError, match="index 4 is not below count 4"):
        Shard(index=4, count=4)
