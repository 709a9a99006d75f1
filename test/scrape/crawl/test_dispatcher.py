"""The rules without an engine, on a clock that the test moves."""

from pathlib import Path

import pytest

from src.core.records import Record
from src.scrape.crawl.canonical import address
from src.scrape.crawl.dispatcher import Dispatcher
from src.scrape.crawl.job import Job
from src.scrape.web import Shard, WebSource

HOME = "http://a.example/"


class Crawl:
    """A dispatcher, with every robots.txt answered."""

    def __init__(self, robots: bytes = b"", shard: Shard | None = None, **settings) -> None:
        self.time = 1000.0
        self.source = WebSource(**({"start": HOME, "delay": 1} | settings))
        self.job = Job(source=self.source, frontier=Path("f.sqlite"), cache=Path("c.sqlite"), shard=shard)
        self.robots = robots
        self.open()

    def open(self) -> None:
        self.dispatcher = Dispatcher(self.job, clock=lambda: self.time)

    def next(self, wait: bool = True):
        for _ in range(50):
            row = self.dispatcher.next()
            if row is None and wait and (due := self.dispatcher.next_due()):
                self.time += due
            elif row and row.kind == "robots":
                self.dispatcher.robots(row, self.robots)
            else:
                return row
        raise AssertionError("no end")

    def keep(self, row, *links: str) -> None:
        self.dispatcher.keep(row, Record(row.key, "text"), [address(each) for each in links])

    @property
    def results(self) -> dict[str, str]:
        return {each.id: getattr(each, "reason", "kept") for each in self.dispatcher.frontier.results()}


def test_breadth_first_in_order_of_addresses_whatever_came_first() -> None:
    crawl = Crawl(depth=2, concurrency=2)
    crawl.keep(crawl.next(), f"{HOME}c", f"{HOME}b", f"{HOME}a", "http://other.example/")
    first, second = crawl.next(), crawl.next()
    assert (first.url, second.url) == (f"{HOME}a", f"{HOME}b")
    crawl.keep(second, f"{HOME}z")
    third = crawl.next()
    assert third.url == f"{HOME}c"
    crawl.keep(third)
    assert crawl.next() is None, "/z is deeper than /a, which is still on its way"
    crawl.keep(first)
    last = crawl.next()
    assert last.url == f"{HOME}z"
    crawl.keep(last, f"{HOME}deeper")
    assert crawl.next() is None
    assert set(crawl.results) == {HOME, *(f"{HOME}{name}" for name in "abcz")}
    assert crawl.dispatcher.counts() == {"kept": 5, "dropped": 0, "queue": 0, "left": 0}


def test_requests_to_a_host_keep_their_distance() -> None:
    crawl = Crawl(b"User-agent: *\nCrawl-delay: 7\n")
    begun = crawl.time
    row = crawl.next()
    assert crawl.time - begun == 7, "robots.txt counts as a request"
    crawl.keep(row, f"{HOME}a")
    at = crawl.time
    assert crawl.next(wait=False) is None
    crawl.next()
    assert crawl.time - at == 7


def test_a_host_slower_than_our_patience_is_left_alone() -> None:
    crawl = Crawl(b"User-agent: *\nRequest-rate: 1/1000\n", max_wait=600)
    assert crawl.next() is None
    assert crawl.results == {HOME: "crawl_delay"}


def test_what_robots_forbid_is_not_fetched() -> None:
    crawl = Crawl(b"User-agent: *\nDisallow: /b\n")
    crawl.keep(crawl.next(), f"{HOME}b", f"{HOME}c")
    assert crawl.next().url == f"{HOME}c"
    assert crawl.results[f"{HOME}b"] == "robots"


@pytest.mark.parametrize(("reason", "becomes"), [("http_503", "robots"), ("timeout", "timeout"), ("private_address",) * 2])
def test_without_robots_txt_for_an_error_nothing_is_fetched(reason: str, becomes: str) -> None:
    crawl = Crawl()
    crawl.dispatcher.drop(crawl.dispatcher.next(), reason, "why")
    assert crawl.next() is None
    assert crawl.results == {HOME: becomes}


def test_robots_txt_is_tried_again_and_followed_where_it_moved() -> None:
    crawl = Crawl()
    row = crawl.dispatcher.next()
    crawl.dispatcher.retry(row, "http_500", "HTTP 500", wait=None, busy=False)
    assert crawl.dispatcher.next() is None
    crawl.time += 60
    row = crawl.dispatcher.next()
    assert (row.kind, row.tries) == ("robots", 1)
    crawl.dispatcher.redirect(row, "https://b.example/robots.txt")
    crawl.time += 60
    assert crawl.dispatcher.next().url == "https://b.example/robots.txt"


def test_patience_ends() -> None:
    crawl = Crawl(tries=3, max_wait=60)
    crawl.keep(crawl.next(), f"{HOME}busy", f"{HOME}later")
    for _ in range(3):
        row = crawl.next()
        assert row.url == f"{HOME}busy"
        at = crawl.time
        crawl.dispatcher.retry(row, "http_429", "HTTP 429", wait=30, busy=True)
        assert crawl.next(wait=False) is None
    assert crawl.results[f"{HOME}busy"] == "http_429"
    row = crawl.next()
    assert (row.url, crawl.time - at) == (f"{HOME}later", 1)
    crawl.dispatcher.retry(row, "http_503", "HTTP 503", wait=3600, busy=True)
    assert crawl.results[f"{HOME}later"] == "retry_later"


def test_a_pause_and_a_count_of_tries_outlive_the_process() -> None:
    crawl = Crawl(tries=2)
    crawl.keep(crawl.next(), f"{HOME}a", f"{HOME}b")
    crawl.dispatcher.retry(crawl.next(), "http_429", "HTTP 429", wait=100, busy=True)
    begun = crawl.time
    crawl.dispatcher.frontier.close()
    crawl.open()
    row = crawl.next()
    assert crawl.time - begun >= 100
    assert (row.url, row.tries) == (f"{HOME}a", 1)
    crawl.dispatcher.frontier.close()
    crawl.open()
    assert crawl.next().url == f"{HOME}a", "what was on its way is asked for again"


def test_redirects() -> None:
    crawl = Crawl()
    start = crawl.next()
    crawl.dispatcher.redirect(start, "http://b.example/")
    row = crawl.next()
    assert (row.url, row.kind) == ("http://b.example/", "start"), "where the start moved to becomes one of the crawl's hosts"
    crawl.keep(row, "http://b.example/x", "http://www.b.example/y", HOME)
    for target in ("http://b.example/x?utm_source=1", "http://c.example/"):
        crawl.dispatcher.redirect(crawl.next(), target)
    row = crawl.next()
    assert row.url == "http://b.example/x?utm_source=1", "asked for as the server wants it"
    crawl.dispatcher.redirect(row, row.url)
    assert crawl.next() is None
    assert crawl.results == {"http://b.example/": "kept", "http://b.example/x": "redirect_loop", "http://www.b.example/y": "out_of_scope"}
    crawl.dispatcher.frontier.close()
    crawl.open()
    assert crawl.dispatcher.scope.on_site("b.example")


def test_redirects_without_end() -> None:
    crawl = Crawl()
    for number in range(11):
        crawl.dispatcher.redirect(crawl.next(), f"{HOME}{number}")
    assert list(crawl.results.values()) == ["too_many_redirects"]


def test_redirects_to_what_is_not_ours() -> None:
    crawl = Crawl(exclude="/no", shard=Shard(index=0, count=1))
    crawl.keep(crawl.next(), f"{HOME}a", f"{HOME}b")
    crawl.dispatcher.redirect(crawl.next(), "ftp://a.example/")
    crawl.dispatcher.redirect(crawl.next(), f"{HOME}no")
    assert crawl.results == {HOME: "kept", f"{HOME}a": "bad_redirect", f"{HOME}b": "out_of_scope"}


def test_a_redirect_to_another_machines_host_is_said() -> None:
    crawl = Crawl(start=[f"http://h{n}.example/" for n in range(4)], shard=Shard(index=0, count=2))
    mine = [each for each in crawl.source.start if crawl.dispatcher.scope.mine(each.split("/")[2])]
    other = next(each for each in crawl.source.start if each not in mine)
    crawl.dispatcher.redirect(crawl.next(), other)
    assert "other_shard" in crawl.results.values()


def test_the_budget_counts_pages_begun_and_lets_them_finish() -> None:
    crawl = Crawl(max_pages=2)
    crawl.keep(crawl.next(), f"{HOME}a", f"{HOME}b")
    row = crawl.next()
    crawl.dispatcher.retry(row, "http_500", "HTTP 500", wait=None, busy=False)
    row = crawl.next()
    assert (row.url, row.tries) == (f"{HOME}a", 1)
    crawl.keep(row)
    assert crawl.next() is None
    assert set(crawl.results) == {HOME, f"{HOME}a"}
    assert crawl.dispatcher.counts()["left"] == 0


def test_a_feeds_entries_may_lie_anywhere_and_a_sitemaps_may_not() -> None:
    crawl = Crawl(start=[], feeds=[f"{HOME}feed"], sitemaps=[f"{HOME}map"])
    feed = crawl.next()
    crawl.dispatcher.listed(feed, [address("http://b.example/1")])
    crawl.dispatcher.listed(crawl.next(), [address("http://c.example/1"), address(f"{HOME}2")], [address(f"{HOME}map2")])
    found = {row.url: row for row in (crawl.next(), crawl.next())}
    assert set(found) == {"http://b.example/1", f"{HOME}map2"}
    assert found[f"{HOME}map2"].kind == "sitemap"
    assert crawl.next() is None, "a list comes before what stands in it"
    crawl.dispatcher.drop(found[f"{HOME}map2"], "http_404")
    assert crawl.next().url == f"{HOME}2"


def test_answers_of_the_cache_need_no_distance() -> None:
    crawl = Crawl(delay=50)
    row = crawl.next()
    at = crawl.time
    crawl.dispatcher.unpaced(row)
    crawl.keep(row, f"{HOME}a")
    crawl.next()
    assert crawl.time == at
