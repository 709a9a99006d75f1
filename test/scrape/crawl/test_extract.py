import asyncio
import logging

import pytest

from src.scrape.crawl import extract as module
from src.scrape.crawl.extract import Wanted, check_selectors, decoded, extract, prepare
from src.scrape.crawl.pool import PoisonError, Pool
from src.scrape.crawl.scope import Scope

URL = "http://example.org/dir/page"


def read(body: bytes | str, kind: str = "text/html", tag: str = "", **wanted):
    settings = {"scope": Scope(["example.org"]), "selectors": {}, "comments": False} | wanted
    return extract(body.encode() if isinstance(body, str) else body, URL, kind, tag, Wanted(**settings))


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("café".encode(), "text/html; charset=iso-8859-1", "café"),
        ("\ufeffcafé".encode(), "text/html", "café"),
        ("café".encode("utf-16"), "text/html; charset=utf-8", "café"),
        ("café".encode("cp1252"), "text/html", "café"),
        ("кафе".encode("koi8-r"), "text/html; charset=koi8-r", "кафе"),
        ("<meta charset=windows-1251>кафе".encode("cp1251"), "text/html", "<meta charset=windows-1251>кафе"),
        ("カフェ".encode("iso-2022-jp"), "text/html; charset=iso-2022-jp", "カフェ"),
        (b"caf\x81", "text/html; charset=nonsense", "caf\x81"),
        (b"\xff\xfe\x00", "text/html", "\ufffd\ufffd\x00"),
    ],
)
def test_what_a_page_declares_counts_only_where_it_fits(body: bytes, kind: str, text: str) -> None:
    assert decoded(body, kind) == text


def test_links_are_read_against_the_base_and_asked_for_once() -> None:
    page = read(
        "<base href='/other/'><a href='x'>1</a><a href='x#y'>2</a><a href='/z?utm_source=a'>3</a><a href='mailto:a@b'>4</a>"
        "<a rel='nofollow' href='n'>5</a><area href='http://far.example/'><a href='http://[bad'>6</a><a>7</a><a href='/no/1'>8</a>",
        scope=Scope(["example.org"], exclude=["/no/"]),
    )
    assert [each.url for each in page.links] == ["http://example.org/other/x", "http://example.org/z", "http://far.example/"]


@pytest.mark.parametrize(
    ("head", "tag", "noindex", "links"),
    [
        ("<meta name='ROBOTS' content='NoIndex'>", "", True, 1),
        ("<meta name='robots' content='nofollow, noarchive'>", "", False, 0),
        ("", "otherbot: none", True, 0),
        ("", "", False, 1),
    ],
)
def test_what_a_page_asks_of_robots(head: str, tag: str, noindex: bool, links: int) -> None:
    page = read(f"<html><head>{head}</head><body><p>Words.</p><a href='/a'>a</a></body></html>", tag=tag)
    assert (page.noindex, len(page.links)) == (noindex, links)


def test_refresh_is_a_redirect_if_soon_and_elsewhere() -> None:
    page = "<html><head><meta http-equiv='Refresh' content='{}'></head><body>x</body></html>"
    assert read(page.format("0; URL=next")).refresh == "http://example.org/dir/next"
    assert read(page.format('5;url="/next"')).refresh == "http://example.org/next"
    assert read(page.format("300; url=/next")).refresh is None
    assert read(page.format("0; url=page")).refresh is None
    assert read(page.format("5")).refresh is None


STORY = "<p>" + "A story that is long enough to be taken for the text of this page. " * 5 + "</p>"


def test_metadata_comments_and_selectors() -> None:
    body = (
        f"<html lang='de-AT'><head><title>A title</title><meta name='author' content='Ann Author'></head><body>"
        f"<article><h1>A title</h1>{STORY}</article>"
        "<div id='comments'><div class='comment'><p>I think that this is a very good story, and I want to say so here.</p></div></div>"
        "<b class='price'>3</b><b class='price'>4</b><time datetime='2026-01-02'>now</time></body></html>"
    )
    page = read(body)
    assert page.text.count("A story that") == 5
    assert "very good story" not in page.text
    assert (page.meta["title"], page.meta["author"], page.meta["language"]) == ("A title", "Ann Author", "de")
    assert "very good story" in read(body, comments=True).text
    picked = read(body, selectors={"text": ".price", "when": "time::attr(datetime)", "none": "u", "title": "h1::text"})
    assert (picked.text, picked.meta["when"], picked.meta["title"]) == ("3\n4", "2026-01-02", "A title")
    assert "none" not in picked.meta


def test_selectors_are_checked() -> None:
    check_selectors({"text": "article > p:first-child", "x": "a::attr(href)"})
    with pytest.raises(ValueError, match=r"selectors\.x"):
        check_selectors({"x": "p[["})


def test_caches_are_emptied_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(module, "reset_caches", lambda: called.append(1))
    monkeypatch.setattr(module, "_RESET_EVERY", 2)
    monkeypatch.setattr(module, "_pages", 0)
    for _ in range(4):
        read("plain", "text/plain")
    assert len(called) == 2
    prepare()
    assert logging.getLogger("trafilatura").level == logging.CRITICAL


def test_a_page_that_never_ends_is_given_up_and_takes_no_other_with_it() -> None:
    async def main() -> list[object]:
        endless = Scope(["example.org"], exclude=["/(a+)+$"])
        pool = Pool(Wanted(endless, {}, comments=False, seconds=3), 1)
        try:
            pages = [f"<p>Page {n}.</p><a href='/{'a' * 60 + '-' if n == 1 else n}'>x</a>".encode() for n in range(4)]
            return await asyncio.gather(*(pool.read(each, URL, "text/html", "") for each in pages), return_exceptions=True)
        finally:
            pool.close()

    found = asyncio.run(main())
    assert isinstance(found[1], PoisonError)
    assert ["poison" if isinstance(each, Exception) else each.links[0].url for each in found] == [
        "http://example.org/0", "poison", "http://example.org/2", "http://example.org/3",
    ]  # fmt: skip
