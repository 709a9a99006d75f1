"""The rules of the crawl, without its engine: what is fetched next, and what becomes of each answer."""

import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from protego import Protego

from src.core.records import Record
from src.scrape.crawl.canonical import Address, address
from src.scrape.crawl.frontier import DROPPED, KEPT, LISTING_DEPTH, PENDING, TAKEN, Frontier, Row, addresses
from src.scrape.crawl.job import Job
from src.scrape.crawl.scope import Scope, hosts_of, is_trap, pattern
from src.scrape.crawl.turns import Host, Turns

FROM_ROBOTS = "robots"
"""Stands in `sitemaps` for those that robots.txt names."""
_HOPS = 10
_NO_HOST = ("private_address", "unknown_host", "unreachable", "timeout")  # what is wrong with the host rather than its robots.txt
_AT_ONCE = 100  # rows turned down in one go, before the engine gets its breath


class Dispatcher:
    """Owns the frontier and the turns; the scheduler asks it for work, the spider hands it outcomes."""

    def __init__(self, job: Job, *, clock: Callable[[], float] = time.time) -> None:
        source = job.source
        self.source = source
        self.now = clock
        self.frontier = Frontier(job.frontier)
        self.turns = Turns(delay=source.delay, concurrency=source.concurrency)
        shard = (job.shard.index, job.shard.count) if job.shard else (0, 1)
        listings = [each for each in (*source.sitemaps, *source.feeds) if each != FROM_ROBOTS]
        self.scope = Scope(
            source.hosts or hosts_of([*source.start, *listings]),
            include=source.include,
            follow=source.follow,
            exclude=source.exclude,
            shard=shard,
        )
        self._open()
        self._started = self.frontier.started()

    def _open(self) -> None:
        self.frontier.reopen()
        start = [each for each in addresses(self.source.start) if self.scope.mine(each.host)]
        self.frontier.add(start, kind="start", depth=0)
        for kind, urls in (("sitemap", self.source.sitemaps), ("feed", self.source.feeds)):
            self.frontier.add(addresses(url for url in urls if url != FROM_ROBOTS), kind=kind, depth=LISTING_DEPTH)
        for name, robots, blocked, pause, member, waiting in self.frontier.hosts():
            host = self.turns.host(name)
            if robots is not None:
                self._obey(host, robots, blocked)
                self.turns.pause(host, self.now() + host.delay)  # the last process may have asked it a moment ago
            self.turns.pause(host, pause)
            if member:
                self.scope.hosts.add(name)
            if waiting:
                self.turns.wait(host, 0)

    # What is fetched next

    def next(self) -> Row | None:
        """The row to fetch now, marked as on its way."""
        for _ in range(_AT_ONCE):
            now = self.now()
            host = self.turns.pop(now)
            if host is None:
                return None
            if row := self._candidate(host, now):
                if self._refused(row, host):
                    self._queue(host, now)
                    continue
                self._started += row.is_page and not row.started
                self.turns.begin(host, row.depth, now)
                self._queue(host, now)
                return row
        return None

    def _candidate(self, host: Host, now: float) -> Row | None:
        row = self.frontier.next(host.name, now, new=self._started < self.source.max_pages)
        if row is None:
            if (at := self.frontier.earliest(host.name)) is not None and at > now:
                self.turns.wait(host, at)
            return None
        if host.robots is None:
            row = self._robots_first(host, row, now)
        ceiling = host.ceiling
        return row if row and (ceiling is None or row.depth <= ceiling) else None  # else the turn comes again when a row is done

    def _robots_first(self, host: Host, row: Row, now: float) -> Row | None:
        """The host's robots.txt, if it is not on its way or waiting for another try."""
        parts = urlsplit(row.url)
        self.frontier.add_robots(host.name, f"{parts.scheme}://{parts.netloc}/robots.txt")
        first = self.frontier.next(host.name, now, new=False)
        if first and first.kind == "robots":
            return first
        if (at := self.frontier.earliest(host.name)) is not None and at > now:
            self.turns.wait(host, at)
        return None

    def _refused(self, row: Row, host: Host) -> bool:
        """Drop a row that may not be fetched; otherwise take it."""
        if row.kind == "robots":
            return not self.frontier.take(row)
        if reason := self._forbidden(row, host):
            self.frontier.drop(row, *reason)
            return True
        series = pattern(row.url) if row.kind == "page" else None
        if self.frontier.take(row, series, limit=self.source.max_per_pattern):
            return False
        self.frontier.drop(row, "pattern_budget", f"{series} has over {self.source.max_per_pattern} addresses; see max_per_pattern")
        return True

    def _forbidden(self, row: Row, host: Host) -> tuple[str, str] | None:
        if host.blocked:
            reason, _, detail = host.blocked.partition(": ")
            return (reason, detail) if reason in _NO_HOST else ("robots", f"robots.txt could not be read: {detail}")
        if host.robots and not host.robots.can_fetch(row.url, self.source.user_agent):
            return "robots", "robots.txt asks not to"
        if host.delay > self.source.max_wait:
            return "crawl_delay", f"robots.txt asks for {host.delay:g} s between requests, more than max_wait"
        return None

    def next_due(self) -> float | None:
        """Seconds until there may be something to fetch; None where nothing waits."""
        at = self.turns.next_due()
        return None if at is None else max(0.0, at - self.now())

    # What becomes of each answer

    def keep(self, row: Row, record: Record | None, found: Iterable[Address]) -> None:
        """A page was read; a page only followed for its links makes no record."""
        links = self._follows(row, found)
        self._done(row, self.frontier.keep(row, record if self.scope.keeps(row.url) else None, links))

    def listed(self, row: Row, found: Iterable[Address], sitemaps: Iterable[Address] = ()) -> None:
        """A sitemap or feed was read: pages it names, and further sitemaps."""
        more = [each for each in sitemaps if not is_trap(each.url)] if row.hops < _HOPS else []
        any_host = row.kind == "feed" and not self.source.hosts  # a feed points where its entries are
        pages = [each for each in found if self.scope.mine(each.host) and self.scope.wants(each.url)]
        pages = [each for each in pages if any_host or self.scope.on_site(each.host)]
        new = self.frontier.add(more, kind="sitemap", depth=row.depth, hops=row.hops + 1)
        self._done(row, [*new, *self.frontier.keep(row, None, pages, step=-row.depth)])

    def drop(self, row: Row, reason: str, detail: str = "", found: Iterable[Address] = ()) -> None:
        """Nothing comes of a row, except perhaps links."""
        if row.kind == "robots":
            self.robots(row, b"", f"{reason}: {detail}")
        else:
            self._done(row, self.frontier.drop(row, reason, detail, self._follows(row, found)))

    def retry(self, row: Row, reason: str, detail: str, *, wait: float | None, busy: bool) -> None:
        """Ask again later, as often as the config says; `busy` answers hold up the whole host.

        Args:
            row: What failed.
            reason: What it is dropped for after the last try.
            detail: The answer in words.
            wait: Seconds that the server asked for.
            busy: Whether the host has too much to do, rather than this page being broken.
        """
        pause = wait if wait is not None else max(self.source.delay, 1.0) * 2.0**row.tries
        if row.tries + 1 >= self.source.tries:
            self.drop(row, reason, f"{detail}, {row.tries + 1} times")
        elif pause > self.source.max_wait:
            self.drop(row, "retry_later", f"{detail}, asks for {pause:.0f} s, more than max_wait")
        else:
            until = self.now() + pause
            if busy or wait is not None:
                self.turns.pause(self.turns.host(row.host), until)
            self.frontier.put_off(row, until, pause=busy or wait is not None)
            self._done(row, [row.host], at=until)

    def redirect(self, row: Row, url: str) -> None:
        """The answer names another address."""
        to = address(url)
        if row.hops >= _HOPS:
            self.drop(row, "too_many_redirects", url)
        elif to is None:
            self.drop(row, "bad_redirect", url)
        elif row.kind == "robots" or (to.key == row.key and url != row.url):
            self.frontier.ask_at(row, url if to.key == row.key else to.url)
            self._done(row, [row.host])
        elif self.frontier.leads_to(to.key, row.key):
            self.drop(row, "redirect_loop", to.url)
        else:
            self._pass_on(row, to)

    def _pass_on(self, row: Row, to: Address) -> None:
        member = row.kind == "start" and not self.source.hosts
        outside = not (self.scope.wants(to.url) or row.kind in ("sitemap", "feed"))
        stays = self.scope.on_site(to.host) or not self.scope.on_site(row.host)  # a feed's entry elsewhere may move on
        if outside or not (member or stays or row.kind == "feed"):
            self.drop(row, "out_of_scope", f"redirects to {to.url}")
            return
        if row.is_page and not self.scope.mine(to.host):
            self.drop(row, "other_shard", f"redirects to {to.url}")
            return
        if member:
            self.scope.hosts.add(to.host.removeprefix("www."))
        self._started -= row.is_page
        self._done(row, self.frontier.pass_on(row, to, member=member))

    def robots(self, row: Row, body: bytes, blocked: str | None = None) -> None:
        """A host's robots.txt is known, or that it may not be crawled for want of it (RFC 9309, 2.3.1)."""
        text = body[: 1 << 19].decode("utf-8-sig", "ignore")
        self.frontier.set_robots(row, text, blocked)
        host = self.turns.host(row.host)
        self._obey(host, text, blocked)
        named = addresses(host.robots.sitemaps) if host.robots and FROM_ROBOTS in self.source.sitemaps else []
        new = self.frontier.add([each for each in named if self.scope.on_site(each.host)], kind="sitemap", depth=LISTING_DEPTH)
        self._done(row, [row.host, *new])

    def _obey(self, host: Host, text: str, blocked: str | None) -> None:
        host.robots = Protego.parse(text)
        host.blocked = blocked
        rate = host.robots.request_rate(self.source.user_agent)
        slow = rate.seconds / rate.requests if rate and rate.requests else 0.0
        host.delay = max(self.source.delay, host.robots.crawl_delay(self.source.user_agent) or 0.0, slow)
        if host.next_at:
            host.next_at = max(host.next_at, self.now() + host.delay)

    def _follows(self, row: Row, found: Iterable[Address]) -> list[Address]:
        """The links of a page that the crawl goes on with."""
        if row.depth >= self.source.depth:
            return []
        wanted = (each for each in found if self.scope.on_site(each.host) and self.scope.mine(each.host))
        return [each for each in wanted if not is_trap(each.url)]

    def unpaced(self, row: Row) -> None:
        """An answer came from the cache: the host was not asked, and need not be left alone."""
        self.turns.host(row.host).next_at = 0.0

    def _done(self, row: Row, hosts: Iterable[str], *, at: float | None = None) -> None:
        now = self.now()
        self.turns.end(self.turns.host(row.host), row.depth)
        self._queue(self.turns.host(row.host), now)
        for name in hosts:
            self.turns.wait(self.turns.host(name), at or now)

    def _queue(self, host: Host, at: float) -> None:
        if self.frontier.waits(host.name):
            self.turns.wait(host, at)

    def counts(self) -> dict[str, int]:
        """Pages kept, dropped and waiting, for the progress bar."""
        states = self.frontier.states()
        waiting = states.get(PENDING, 0) + states.get(TAKEN, 0)
        budget = max(0, self.source.max_pages - self._started) + states.get(TAKEN, 0)
        return {"kept": states.get(KEPT, 0), "dropped": states.get(DROPPED, 0), "queue": waiting, "left": min(waiting, budget)}
