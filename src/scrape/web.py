"""The source `web`: pages of the web, crawled politely from start addresses, sitemaps and feeds."""

import ipaddress
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from src import __version__
from src.core.config import Config, Cosmetic
from src.core.stage import as_tuple
from src.scrape.source import Piece


def _is_web(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address like https://example.org/news/")
    return url.strip()


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return pattern


def _web_or_robots(url: str) -> str:
    return url if url == "robots" else _is_web(url)


def _is_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(f"{text!r} is no network like 10.1.0.0/16") from None


Urls = Annotated[tuple[Annotated[str, AfterValidator(_is_web)], ...], BeforeValidator(as_tuple)]
Sitemaps = Annotated[tuple[Annotated[str, AfterValidator(_web_or_robots)], ...], BeforeValidator(as_tuple)]
Patterns = Annotated[tuple[Annotated[str, AfterValidator(_compiles)], ...], BeforeValidator(as_tuple)]
Networks = tuple[Annotated[str, AfterValidator(_is_network)], ...]


class Shard(Config):
    """One machine's part of a crawl that several share, by a hash of the host's name."""

    index: int = Field(default=0, ge=0)
    """Which part this machine crawls, from 0."""
    count: int = Field(default=1, ge=1)
    """How many parts there are."""

    @model_validator(mode="after")
    def _exists(self) -> "Shard":
        if self.index >= self.count:
            raise ValueError(f"index {self.index} is not below count {self.count}")
        return self


class WebSource(Config):
    """Pages of the web, each a record; robots.txt is obeyed, private networks are not entered."""

    type: Literal["web"] = "web"
    start: Urls = ()
    """Addresses to begin at."""
    sitemaps: Sitemaps = ()
    """Addresses of sitemaps or their indexes, also gzipped; `robots` takes those that the robots.txt of the start hosts name."""
    feeds: Urls = ()
    """Addresses of RSS, Atom or JSON feeds."""
    hosts: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Hosts to stay on, `*.example.org` for all below one; empty stays on those of start, sitemaps and feeds."""
    include: Patterns = ()
    """Regular expressions: a page is kept where one is found in its address; empty keeps all."""
    follow: Patterns = ()
    """Regular expressions of pages read only for their links, such as lists, where `include` does not name them."""
    exclude: Patterns = ()
    """Regular expressions of addresses never asked for."""
    depth: int = Field(default=3, ge=0)
    """Links to go from a start page, or one a sitemap or feed names; 0 follows none."""
    max_pages: int = Field(default=1000, gt=0)
    """Pages to ask for at most, nearest the start first."""
    max_per_pattern: int = Field(default=500, gt=0)
    """Pages to ask for at most whose addresses differ only in digits and values, such as those of an endless calendar."""
    selectors: dict[str, str] = Field(default={})
    """CSS selector of each field: `text` and `title` replace what is extracted, others join meta; `::attr(name)` takes an attribute."""
    comments: bool = False
    """Whether to keep readers' comments and replies: for forums."""
    javascript: bool = False
    """Whether to load pages in a headless Chromium; needs the extra `browser`."""
    user_agent: Annotated[str, Field(min_length=1)] = f"mlx/{__version__} (text corpora; obeys robots.txt)"
    """How the crawler introduces itself; name an address to complain to."""
    delay: Annotated[float, Field(ge=0), Cosmetic()] = 1.0
    """Seconds between two requests to one host; robots.txt may ask for more."""
    concurrency: Annotated[int, Field(gt=0), Cosmetic()] = 2
    """Requests to one host on their way at once."""
    connections: Annotated[int, Field(gt=0), Cosmetic()] = 16
    """Requests on their way at once over all hosts."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 30.0
    """Seconds after which a page is given up."""
    tries: Annotated[int, Field(gt=0), Cosmetic()] = 4
    """How often a page is asked for that a busy or broken server does not give."""
    max_wait: Annotated[float, Field(gt=0), Cosmetic()] = 600.0
    """Seconds to wait at most where a server asks for patience (Retry-After, Crawl-delay); pages that need more are dropped."""
    max_page_mb: int = Field(default=16, gt=0)
    """Size above which a page is not read, unpacked or packed."""
    workers: Annotated[int, Field(ge=0), Cosmetic()] = 0
    """Processes that take the text out of pages; 0 is one a core."""
    allow_private: bool | Networks = False
    """Whether private and loopback addresses may be asked, or a list of the networks that may, such as [10.1.0.0/16]."""

    @field_validator("selectors")
    @classmethod
    def _leaves_names(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := sorted({"source", "url"} & value.keys()):
            raise ValueError(f"{taken[0]!r} is the page's address and takes no selector")
        return value

    @model_validator(mode="after")
    def _begins(self) -> "WebSource":
        if not (self.start or self.feeds or self.sitemaps):
            raise ValueError("name where to begin by `start`, `sitemaps` or `feeds`")
        if "robots" in self.sitemaps and not self.start:
            raise ValueError("`robots` in sitemaps needs a `start` whose robots.txt names some")
        return self

    @property
    def processes(self) -> int:
        """How many processes take the text out."""
        return self.workers or os.cpu_count() or 1

    def pieces(self, work: Path, cache: Path, shard: Shard | None = None) -> Iterator[Piece]:
        """Yield the crawl as one piece; what is fetched lies in `work` until then, and answers in `cache` for longer."""
        from src.scrape.crawl.client import crawled
        from src.scrape.crawl.job import Job

        job = Job(source=self, frontier=work / "crawl" / "frontier.sqlite", cache=cache / "pages.sqlite", shard=shard)
        yield Piece(f"web:{(*self.start, *self.sitemaps, *self.feeds)[0]}", partial(crawled, job))
