"""Reading the lists a site gives of its pages: sitemaps and their indexes, RSS, Atom and JSON feeds."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import urljoin

from lxml import etree  # type: ignore[import-untyped]
from scrapy.utils.gz import gunzip

_LIMIT = 64 << 20  # bytes of a sitemap unpacked; its standard allows 50 MB
_GZIP = b"\x1f\x8b"


class BadListingError(ValueError):
    """What was to be a sitemap or feed is none."""


def sitemap(body: bytes, url: str) -> tuple[list[str], list[str]]:
    """Read a sitemap, as XML or as lines of plain text, gzipped or not: addresses of pages, and of further sitemaps."""
    body = _unpacked(body)
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        lines = [line.strip() for line in body.decode("utf-8-sig", "replace").splitlines()]
        if not (found_urls := [line for line in lines if line.startswith(("http://", "https://"))]):
            raise BadListingError("no addresses in it")
        return found_urls, []
    pages: list[str] = []
    maps: list[str] = []
    for node in _elements(body, ("urlset", "sitemapindex")):
        name = _name(node)
        if name in ("url", "sitemap") and (found := _child_text(node, "loc")):
            (pages if name == "url" else maps).append(urljoin(url, found))
        if name in ("url", "sitemap"):
            node.clear()
    return pages, maps


def feed(body: bytes, url: str) -> list[str]:
    """Read a feed: the addresses of its entries."""
    body = _unpacked(body).lstrip(b"\xef\xbb\xbf \t\r\n")
    if body.startswith(b"{"):
        return [urljoin(url, each) for each in _json_feed(body)]
    entries = (node for node in _elements(body, ("rss", "feed", "RDF")) if _name(node) in ("item", "entry"))
    return [urljoin(url, found) for found in map(_entry, entries) if found]


def _json_feed(body: bytes) -> Iterator[str]:
    try:
        items = json.loads(body)["items"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadListingError("JSON, but no feed") from None
    for item in items if isinstance(items, list) else []:
        found = item.get("url") or item.get("external_url") if isinstance(item, dict) else None
        if isinstance(found, str):
            yield found


def _entry(node: Any) -> str:
    """The page of an entry: the link meant for readers, else any, else an id that is one."""
    links = [each for each in node if _name(each) == "link"]
    readers = [each for each in links if (each.get("rel") or "alternate") == "alternate"]
    for each in (*readers, *links):
        if found := (each.get("href") or each.text or "").strip():
            return str(found)
    guid = next((each for each in node if _name(each) == "guid" and each.get("isPermaLink") != "false"), None)
    found = ("" if guid is None else guid.text or "").strip()
    return str(found) if found.startswith("http") else ""


def _elements(body: bytes, roots: tuple[str, ...]) -> Iterator[Any]:
    """Every element of a document, its end seen; no entity is expanded and nothing is fetched."""
    parser = etree.iterparse(BytesIO(body), events=("start", "end"), recover=True, resolve_entities=False, no_network=True, load_dtd=False)
    try:
        started = False
        for event, node in parser:
            if not started and _name(node) not in roots:
                raise BadListingError(f"begins with <{_name(node)}>")
            started = True
            if event == "end":
                yield node
    except etree.XMLSyntaxError as error:
        raise BadListingError(str(error)) from None
    if not started:
        raise BadListingError("empty")


def _child_text(node: Any, name: str) -> str:
    found = next((each for each in node if _name(each) == name), None)
    return "" if found is None else (found.text or "").strip()


def _name(node: Any) -> str:
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(_GZIP):
        return body
    try:
        return bytes(gunzip(body, max_size=_LIMIT))
    except Exception as error:  # zlib's, EOF's and Scrapy's own for what is too large
        raise BadListingError(f"gzip: {error}") from None
