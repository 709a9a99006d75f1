"""Taking text, fields and links out of a page's bytes; runs in processes of its own."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import trafilatura
from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError
from trafilatura.meta import reset_caches
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding

from src.scrape.crawl.canonical import Address, address
from src.scrape.crawl.scope import Scope
from src.text.encoding import decode, marked, mended

_MOST_LINKS = 5000
_REFRESH = re.compile(r"^\s*([\d.]*)\s*[;,]\s*url\s*=\s*['\"]?([^'\"]+)", re.I)
_SOON = 5.0  # seconds up to which a page that refreshes to another is a redirect
_ATTRIBUTE = re.compile(r"^(.*?)\s*::(?:text|attr\(([\w:-]+)\))$", re.S)
_RESET_EVERY = 500
_pages = 0


@dataclass(frozen=True)
class Wanted:
    """What to take out of each page."""

    scope: Scope
    selectors: dict[str, str]
    comments: bool
    seconds: int = 60
    """Processor seconds on one page after which the process that reads it is ended."""


@dataclass
class Page:
    """What a page held."""

    text: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    links: list[Address] = field(default_factory=list)
    refresh: str | None = None
    """Where the page sends its reader at once."""
    noindex: bool = False
    """Whether the page asks not to be kept."""


def extract(body: bytes, url: str, kind: str, robots_tag: str, wanted: Wanted) -> Page:
    """Read a page.

    Args:
        body: Its bytes, unpacked.
        url: Its address, against which its links are read.
        kind: The Content-Type header.
        robots_tag: The X-Robots-Tag header.
        wanted: What to take.
    """
    _reset()
    html = decoded(body, kind)
    if kind.startswith(("text/plain", "text/markdown")):
        return Page(text=mended(html).strip())
    tree = LexborHTMLParser(html)
    rules = _rules(tree) | set(re.split(r"[\s,:]+", robots_tag.lower()))
    page = Page(refresh=_refresh(tree, url), noindex=bool(rules & {"noindex", "none"}))
    if not rules & {"nofollow", "none"}:
        page.links = list(_links(tree, url, wanted.scope))
    if not (page.noindex or page.refresh):
        _read(page, html, tree, url, wanted)
    return page


def decoded(body: bytes, kind: str) -> str:
    """Decode a page: by its mark, as UTF-8 where it is that, else as it declares, else as Windows-1252."""
    declared = http_content_type_encoding(kind) or html_body_declared_encoding(body[:4096])
    odd = declared and declared.startswith(("utf-16", "utf-32", "iso2022", "hz"))  # whose bytes pass for ASCII
    if marked(body) is None and not (odd and not body.isascii()):
        try:
            if not odd:
                return body.decode()
        except UnicodeDecodeError:
            pass
    if declared and marked(body) is None:
        try:
            return body.decode(declared)
        except (UnicodeDecodeError, LookupError):
            pass
    try:
        return decode(body)[0]
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace")


def _read(page: Page, html: str, tree: LexborHTMLParser, url: str, wanted: Wanted) -> None:
    found = trafilatura.bare_extraction(
        html,
        url=url,
        include_comments=wanted.comments,
        with_metadata=True,
        date_extraction_params={"extensive_search": False, "original_date": True},
    )
    if found is not None:
        page.text = "\n".join(each for each in (found.text, found.comments if wanted.comments else None) if each)
        page.meta = {
            "title": found.title,
            "author": found.author,
            "date": found.date,
            "site": found.sitename,
            "licence": found.license,
            "language": found.language or _language(tree),
        }
    for name, selector in wanted.selectors.items():
        value = select(tree, selector)
        if name == "text":
            page.text = value
        elif value:
            page.meta[name] = value
    page.text = mended(page.text).strip()
    page.meta = {name: mended(value) for name, value in page.meta.items() if value}


def select(tree: LexborHTMLParser, selector: str) -> str:
    """The text, or the attribute, of what a CSS selector finds, a line each."""
    match = _ATTRIBUTE.match(selector)
    nodes = tree.css(match[1] if match else selector)
    if match and match[2]:
        values: list[str | None] = [node.attributes.get(match[2]) for node in nodes]
    else:
        values = [node.text(separator=" ", strip=True) for node in nodes]
    return "\n".join(value.strip() for value in values if value and value.strip())


def _links(tree: LexborHTMLParser, url: str, scope: Scope) -> Iterator[Address]:
    base = tree.css_first("base[href]")
    base_url = _join(url, _attribute(base, "href")) if base else url
    seen: set[str] = set()
    for node in tree.css("a[href], area[href]")[:_MOST_LINKS]:
        if "nofollow" in (_attribute(node, "rel")).lower():
            continue
        found = address(_join(base_url, _attribute(node, "href")))
        if found and found.key not in seen and scope.wants(found.url):
            seen.add(found.key)
            yield found


def _join(base: str, link: str) -> str:
    try:
        return urljoin(base, link.strip())
    except ValueError:
        return ""


def _rules(tree: LexborHTMLParser) -> set[str]:
    """What the page asks of robots."""
    content = " ".join(_attribute(node, "content") for node in tree.css('meta[name="robots" i]'))
    return set(re.split(r"[\s,]+", content.lower()))


def _refresh(tree: LexborHTMLParser, url: str) -> str | None:
    node = tree.css_first('meta[http-equiv="refresh" i]')
    match = _REFRESH.match(_attribute(node, "content")) if node else None
    if not match or float(match[1].rstrip(".") or 0) > _SOON:
        return None
    to = _join(url, match[2])
    return to if to.partition("#")[0] != url.partition("#")[0] else None  # one that only loads itself anew is a page


def _language(tree: LexborHTMLParser) -> str:
    node = tree.css_first("html[lang]")
    return _attribute(node, "lang").split("-")[0].lower() if node else ""


def _attribute(node: LexborNode | None, name: str) -> str:
    return (node.attributes.get(name) or "") if node else ""


def _reset() -> None:
    """Empty trafilatura's caches now and then, which only grow."""
    global _pages
    _pages += 1
    if _pages % _RESET_EVERY == 0:
        reset_caches()


def check_selectors(selectors: dict[str, str]) -> None:
    """Raise ValueError, naming the field, where a selector is none."""
    tree = LexborHTMLParser("<p>")
    for name, selector in selectors.items():
        try:
            select(tree, selector)
        except (ValueError, SelectolaxError) as error:
            raise ValueError(f"selectors.{name}: {selector!r} is no CSS selector: {error}") from None


def prepare() -> None:
    """Get a worker ready: no log of each odd page."""
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    logging.getLogger("htmldate").setLevel(logging.CRITICAL)
