"""Whole crawls of a loopback site, in the process that a user's run starts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from src.core.errors import MlxError
from src.core.ledger import Drop
from src.scrape import scrape
from src.scrape.web import Shard, WebSource

ROOT = Path(__file__).parents[3]


def crawl(shard: Shard | None = None, **settings):
    """Crawl, and return texts by path and drops by path."""
    base = {"delay": 0, "allow_private": ["127.0.0.0/8"], "workers": 1, "tries": 2, "timeout": 10}
    source = WebSource(**(base | settings))
    work = Path(f"work-{len(list(Path().iterdir()))}")
    (piece,) = source.pieces(work, Path("cache"), shard)
    items = list(piece.make())
    keys = [each.id for each in items]
    assert keys == sorted(set(keys))
    return {path(each.id): each for each in items if not isinstance(each, Drop)}, {
        path(each.id): each.reason for each in items if isinstance(each, Drop)
    }


def path(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def test_a_site_with_everything_on_it(site, page, packed) -> None:
    site.pages |= {
        "/robots.txt": (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /private/\n"),
        "/": page(
            "Home", "a", "/a?utm_source=home#top", "/A/../a", "/private/x", "/old", "/loop1", "/away", "/busy", "/broken", "/slow", "/cut",
            "/big", "/bomb", "/film", "/latin", "/mislabelled", "/calendar/1", "/echo/", "/hidden", "/empty",
            "/gone", "/refresh", "/plain", "/nofollow",
            "mailto:a@b.c", "http://example.com/elsewhere",
        ),
        "/a": page("A", "/"),
        "/old": (301, {"Location": "/new"}, b""),
        "/new": page("New", "/old"),
        "/loop1": (302, {"Location": "/loop2"}, b""),
        "/loop2": (302, {"Location": "/loop1"}, b""),
        "/away": (302, {"Location": "http://example.com/"}, b""),
        "/busy": lambda times: (429, {"Retry-After": "1"}, b"") if times == 1 else (200, {}, page("Busy")),
        "/broken": (500, {}, b""),
        "/slow": lambda _: (time.sleep(3), (200, {}, page("Slow")))[1],
        "/cut": (200, {"Content-Length": "9999", "Connection": "close"}, page("Cut")),
        "/big": (200, {}, page("Big", text="<p>sea</p>" * 200_000)),
        "/bomb": (200, {"Content-Encoding": "gzip"}, packed(b"<p>" + b"sea " * 1_000_000)),
        "/film": (200, {"Content-Type": "video/mp4"}, b"\0" * 1000),
        "/latin": (200, {"Content-Type": "text/html"}, page("Latin").decode().replace("sea", "caf\xe9").encode("cp1252")),
        "/mislabelled": (200, {"Content-Type": "text/html; charset=iso-8859-1"}, page("Label").decode().replace("sea", "caf\xe9").encode()),
        "/hidden": page("Hidden", "/behind", head='<meta name="robots" content="noindex">'),
        "/behind": page("Behind"),
        "/empty": b"<html><body><a href='/'><img src='x.png'></a></body></html>",
        "/refresh": page("Refresh", head='<meta http-equiv="refresh" content="0; url=/fresh">'),
        "/fresh": page("Fresh"),
        "/plain": (200, {"Content-Type": "text/plain"}, b"Plain words."),
        "/nofollow": page("Nofollow", text="<p>Words and more words here.</p>" * 9 + "<a rel='nofollow' href='/never'>x</a>"),
    }  # fmt: skip
    site.pages |= {f"/calendar/{day}": page(f"Day {day}", f"/calendar/{day + 1}") for day in range(1, 40)}
    site.pages |= {"/echo/" + "more/" * depth: page(f"Echo {depth}", "more/") for depth in range(30)}
    kept, dropped = crawl(
        start=site.url, depth=30, max_per_pattern=5, timeout=1.5, max_page_mb=1, user_agent="mlx-test (test@example.org)", workers=2
    )
    assert sorted(kept) == sorted([
        "/", "/a", "/new", "/busy", "/latin", "/mislabelled", "/behind", "/fresh", "/plain", "/nofollow",
        *(f"/calendar/{day}" for day in range(1, 6)),
        *("/echo/" + "more/" * depth for depth in range(4)),
    ])  # fmt: skip
    assert dropped == {
        "/private/x": "robots",
        "/loop2": "redirect_loop",
        "/away": "out_of_scope",
        "/broken": "http_500",
        "/slow": "timeout",
        "/cut": "unreachable",
        "/big": "too_large",
        "/bomb": "too_large",
        "/film": "not_html",
        "/calendar/6": "pattern_budget",
        "/hidden": "noindex",
        "/empty": "no_text",
        "/gone": "http_404",
    }
    assert "café" in kept["/latin"].text
    assert "café" in kept["/mislabelled"].text
    assert kept["/a"].meta["title"] == "A"
    assert kept["/a"].meta["source"] == kept["/a"].id == f"{site.url}/a"
    assert kept["/plain"].text == "Plain words."
    once = [each for each in site.paths if each not in ("/busy", "/broken", "/slow", "/cut")]
    assert len(once) == len(set(once)), "a page was asked for twice"
    assert "/private/x" not in site.paths
    assert site.paths[0] == "/robots.txt"
    assert site.agents == {"mlx-test (test@example.org)"}
    busy = [at for at, _, where, _ in site.log if where == "/busy"]
    during = [(where, at - busy[0]) for at, _, where, _ in site.log if 0.3 < at - busy[0] < 0.99]
    assert not during, "Retry-After holds the whole host"
    assert busy[1] - busy[0] >= 1


SCRIPT = "import sys; sys.path.insert(0, {root!r}); from src.scrape import scrape; scrape(scrape.load('t.yaml'))"


def begin() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", SCRIPT.format(root=str(ROOT))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(condition, seconds: float = 30) -> None:
    until = time.time() + seconds
    while not condition():
        assert time.time() < until, "it never came"
        time.sleep(0.01)


@pytest.mark.slow
def test_kill_9_of_parent_and_of_child_loses_nothing_and_fetches_nothing_twice(site, page) -> None:
    site.latency = 0.01
    site.pages["/robots.txt"] = (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /private/\nCrawl-delay: 0.02\n")
    site.pages |= {f"/{n or ''}": page(f"Page {n}", *(f"/{m}" for m in range(4 * n + 1, 4 * n + 5) if m < 60)) for n in range(60)}
    source = {"type": "web", "start": site.url, "delay": 0, "depth": 9, "allow_private": True, "workers": 1}
    Path("t.yaml").write_text(json.dumps({"name": "t", "scrape": {"sources": [source]}}))
    begun = begin()
    wait_for(lambda: len(site.log) > 15)
    family = psutil.Process(begun.pid).children(recursive=True)
    assert len(family) >= 2
    begun.kill()
    begun.communicate()
    psutil.wait_procs(family, timeout=10)
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE], "what it started ends with it"
    first = len(site.log)
    begun = begin()
    wait_for(lambda: len(site.log) > first + 15)
    child = psutil.Process(begun.pid).children()[0]
    os.kill(child.pid, signal.SIGKILL)
    _, error = begun.communicate()
    assert begun.returncode == 1
    assert b"the crawl ended with -9" in error
    manifest = scrape(scrape.load("t.yaml"))
    assert (manifest.counts["kept"], manifest.counts["dropped"]) == (60, 0)
    pages = [each for each in site.paths if each != "/robots.txt"]
    assert set(pages) == {f"/{n or ''}" for n in range(60)}
    assert len(pages) <= 60 + 2 * source.get("concurrency", 2), "only what was on its way is fetched again"
    assert site.paths.count("/robots.txt") == 1
    times = [at for at, *_ in site.log]
    assert max(sum(at <= each < at + 0.5 for each in times) for at in times) <= 28, "Crawl-delay holds, over kills too"
    killed = Path("data/t/scrape/records.parquet").read_bytes()
    scrape(scrape.load("t.yaml"), force=True)
    assert Path("data/t/scrape/records.parquet").read_bytes() == killed, "an undisturbed run gives the same bytes"


def test_listings_lead_to_pages(site, page, packed, shared) -> None:
    entries = {f"/s{n}": page(f"S{n}", "/not-followed") for n in range(4)} | {f"/f{n}": page(f"F{n}") for n in range(3)}
    index = f"<sitemapindex><sitemap><loc>{site.url}/map1.xml.gz</loc></sitemap><sitemap><loc>/gone.xml</loc></sitemap></sitemapindex>"
    urls = "".join(f"<url><loc>{site.url}/s{n}</loc></url>" for n in range(4)) + "<url><loc>http://other.example/</loc></url>"
    site.pages |= entries | {
        "/robots.txt": (200, {}, f"Sitemap: {site.url}/map.xml\nSitemap: http://other.example/map.xml\n".encode()),
        "/start": page("Start"),
        "/map.xml": (200, {"Content-Type": "application/xml"}, index.encode()),
        "/map1.xml.gz": (200, {"Content-Type": "application/x-gzip"}, packed(f"<urlset>{urls}</urlset>".encode())),
        "/feed.rss": (200, {}, (shared / "web_fixtures/feed2.rss").read_bytes().replace(b"http://www.example.com/blog/post/1", b"/f0")),
        "/feed.atom": (200, {"Content-Type": "application/atom+xml"},
                       (shared / "web_fixtures/feed1.atom").read_bytes().replace(b"http://example.org/2003/12/13/atom03", b"/f1")),
        "/feed.json": (200, {"Content-Type": "application/json"}, json.dumps({"items": [{"url": f"http://127.0.0.2:{site.port}/f2"}]}).encode()),
        "/feed.html": page("No feed"),
    }  # fmt: skip
    feeds = [f"{site.url}/{name}" for name in ("feed.rss", "feed.atom", "feed.json", "feed.html")]
    kept, dropped = crawl(start=f"{site.url}/start", sitemaps="robots", feeds=feeds, depth=0, tries=1, timeout=3)
    assert {"/start", *entries} == set(kept)
    assert dropped == {"/gone.xml": "http_404", "/feed.html": "not_a_feed", "/1000": "unknown_host"}
    assert "/not-followed" not in site.paths


def test_private_addresses_are_not_asked_by_name_number_or_redirect(site, page) -> None:
    site.pages["/robots.txt"] = (404, {}, b"")
    site.pages["/out"] = (302, {"Location": "http://169.254.169.254/latest/"}, b"")
    site.pages["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    inside = [f"http://{host}:{site.port}/" for host in ("localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "127.1")]
    with pytest.raises(MlxError, match=r"none of 6 addresses could be fetched: http://.*private_address") as error:
        crawl(start=[*inside, "http://169.254.169.254/latest/meta-data/"], allow_private=False, tries=1)
    assert "allow_private" in error.value.hint
    assert not site.log
    site.pages["/fine"] = page("Fine")
    kept, dropped = crawl(start=[f"{site.url}/{name}" for name in ("out", "file", "fine")], tries=1)
    assert set(kept) == {"/fine"}
    assert dropped == {"/latest/": "private_address", "/file": "bad_redirect"}


def test_a_second_crawl_takes_the_same_pages_and_asks_only_for_what_is_stale(site, page) -> None:
    fresh, stale = {"Cache-Control": "max-age=600"}, {"ETag": '"1"', "Cache-Control": "no-cache"}
    links = [f"/{n}" for n in range(1, 60)]
    site.pages |= {
        f"/{n or ''}": (200, stale if n == 12 else fresh, page(f"Page {n}", *links, head=f'<meta name="price" content="{n}">'))
        for n in range(60)
    }
    settings = {
        "start": site.url, "max_pages": 20, "include": r"/1\d?$", "follow": "/2", "exclude": "/3",
        "selectors": {"text": "h1", "price": "meta[name=price]::attr(content)"},
    }  # fmt: skip
    first, _ = crawl(**settings)
    assert sorted(first) == sorted(["/1", *(f"/{n}" for n in range(10, 20))])
    assert (first["/12"].text, first["/12"].meta["price"], first["/12"].meta["title"]) == ("Page 12", "12", "Page 12")
    assert not [each for each in site.paths if each.startswith("/3")]
    asked = len(site.paths)
    assert asked == len(set(site.paths)) == 21
    site.pages["/12"] = (304, stale, b"")
    assert crawl(**settings)[0] == first
    assert set(site.paths[asked:]) == {"/robots.txt", "/12"}


def test_shards_crawl_disjoint_hosts_and_together_all(site, page) -> None:
    names = [f"127.0.0.{n}" for n in range(1, 9)]
    urls = [f"http://{name}:{site.port}/" for name in names]
    site.pages["/"] = page("Host", *urls, "/2")
    site.pages["/2"] = page("Second")
    found = []
    for index in range(2):
        items = list(
            WebSource(start=urls, delay=0, allow_private=True, workers=1).pieces(Path(f"w{index}"), Path("c"), Shard(index=index, count=2))
        )
        found.append({each.id for each in items[0].make()})
    assert not found[0] & found[1]
    assert found[0]
    assert found[1]
    assert found[0] | found[1] == {f"{url}{tail}" for url in urls for tail in ("", "2")}


def test_a_bad_selector_is_said_before_anything_is_fetched(site) -> None:
    with pytest.raises(MlxError, match=r"selectors.price: 'p\[\[' is no CSS selector"):
        crawl(start=site.url, selectors={"price": "p[["})
    assert not site.log
