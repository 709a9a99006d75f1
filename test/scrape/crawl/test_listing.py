import gzip

import pytest

from src.scrape.crawl.listing import BadListingError, feed, sitemap

AT = "http://example.org/list"


def test_real_sitemaps(shared) -> None:
    folder = shared / "web_fixtures"
    pages, maps = sitemap((folder / "sitemap.xml").read_bytes(), AT)
    assert pages[:2] == ["https://www.sitemaps.org/", "https://www.sitemaps.org/protocol.html"]
    assert len(pages) == 84
    assert not maps
    assert sitemap((folder / "sitemap.xml.gz").read_bytes(), AT)[0][0] == "https://www.sitemaps.org/"
    assert sitemap((folder / "sitemap2.xml").read_bytes(), AT) == (
        [], ["http://www.example.com/sitemap1.xml.gz", "http://www.example.com/sitemap2.xml.gz"],
    )  # fmt: skip
    assert sitemap((folder / "redundant-urls.txt").read_bytes(), AT)[0][0] == "https://example.org/"
    assert "http://www.example.com/english/page.html" in sitemap((folder / "sitemap-hreflang.xml").read_bytes(), AT)[0]


def test_real_feeds(shared) -> None:
    folder = shared / "web_fixtures"
    assert feed((folder / "feed1.atom").read_bytes(), AT) == ["http://example.org/2003/12/13/atom03", "http://example.org/1000"]
    assert feed((folder / "feed2.rss").read_bytes(), AT) == ["http://www.example.com/blog/post/1"]
    found = feed((folder / "feed.json").read_bytes(), AT)
    assert len(found) == 25
    assert found[0].startswith("https://www.npr.org/2021/10/29/1050315385/")


def test_links_of_entries() -> None:
    rss = (
        b"<rss><channel><item><guid>http://a/1</guid></item><item><guid isPermaLink='false'>http://a/2</guid></item><item/></channel></rss>"
    )
    assert feed(rss, AT) == ["http://a/1"]
    atom = b"<feed><entry><link rel='self' href='/x'/><link rel='alternate' href='/y'/></entry></feed>"
    assert feed(atom, AT) == ["http://example.org/y"]
    assert feed(b'{"items": [{"url": "/a"}, {"external_url": "http://b/"}, {"id": 1}, 7]}', AT) == ["http://example.org/a", "http://b/"]


@pytest.mark.parametrize("body", [b"", b"<html><body>no</body></html>", b"words", b"<urlset", gzip.compress(b"<urlset/>")[:12]])
def test_what_is_no_sitemap(body: bytes) -> None:
    if body == b"<urlset":
        body = b"<"
    with pytest.raises(BadListingError):
        sitemap(body, AT)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1", b"{not json", b'{"items": 3', b"<html/>", b"words"])
def test_what_is_no_feed(body: bytes) -> None:
    with pytest.raises(BadListingError):
        feed(body, AT)


def test_entities_are_not_expanded_and_bombs_not_unpacked() -> None:
    lol = '<!DOCTYPE urlset [<!ENTITY a "http://x/"><!ENTITY f SYSTEM "file:///etc/passwd">]><urlset><url><loc>&f;&a;</loc></url></urlset>'
    pages, _ = sitemap(lol.encode(), AT)
    assert all("root:" not in each for each in pages)
    with pytest.raises(BadListingError, match="gzip"):
        sitemap(gzip.compress(b" " * (65 << 20)), AT)
