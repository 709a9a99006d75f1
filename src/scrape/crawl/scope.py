"""Which addresses belong to a crawl, and which look like a trap without end."""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import urlsplit

from src.scrape.crawl.canonical import address, name_of

_NUMBER = re.compile(r"\d+")
_LONGEST = 2000  # characters of an address; longer ones are machines talking to themselves
_DEEPEST = 24  # parts of a path
_REPEATS = 3  # times that a part of a path may come again: /a/b/a/b/a/b/a/b


class Scope:
    """Hosts, patterns and shard of one crawl."""

    def __init__(
        self,
        hosts: Iterable[str],
        *,
        include: Iterable[str] = (),
        follow: Iterable[str] = (),
        exclude: Iterable[str] = (),
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.hosts = {_bare(host) for host in hosts if not host.startswith("*.")}
        self.below = tuple(_bare(host[1:]) for host in hosts if host.startswith("*."))
        self._include = _any(include)
        self._follow = _any(follow)
        self._exclude = _any(exclude)
        self.shard = shard

    def wants(self, url: str) -> bool:
        """Whether the patterns ask for this address, to be kept or to be read for its links."""
        if self._exclude and self._exclude.search(url):
            return False
        if self._follow and self._follow.search(url):
            return True
        return self.keeps(url)

    def keeps(self, url: str) -> bool:
        """Whether the page at this address becomes a record, rather than being read for its links alone."""
        return not self._include or bool(self._include.search(url))

    def on_site(self, host: str) -> bool:
        """Whether links to this host are followed; `www.` makes no difference."""
        bare = _bare(host)
        return bare in self.hosts or (bool(self.below) and f".{bare}".endswith(self.below))

    def mine(self, host: str) -> bool:
        """Whether this host falls to this shard."""
        index, count = self.shard
        return count == 1 or shard_of(host, count) == index


def hosts_of(urls: Iterable[str]) -> list[str]:
    """The hosts of some addresses."""
    return [found.host for found in map(address, urls) if found]


def shard_of(host: str, count: int) -> int:
    """Which of `count` shards crawls a host: a stable hash of its name, so that no two machines meet on one."""
    mark = blake2b(name_of(_bare(host)).encode(), digest_size=8).digest()
    return int.from_bytes(mark, "big") % count


@lru_cache(maxsize=1 << 14)
def pattern(url: str) -> str | None:
    """What addresses of one machine-made series share: `/calendar/#/#?view`; None where nothing varies."""
    parts = urlsplit(url)
    path = _NUMBER.sub("#", parts.path)
    names = sorted({_NUMBER.sub("#", pair.partition("=")[0]) for pair in parts.query.split("&") if pair})
    return f"{path}{'?' if names else ''}{'&'.join(names)}" if names or "#" in path else None


def is_trap(url: str) -> bool:
    """Whether an address alone shows that a loop made it: too long, too deep, its parts again and again."""
    if len(url) > _LONGEST:
        return True
    segments = [each for each in urlsplit(url).path.split("/") if each]
    return len(segments) > _DEEPEST or any(segments.count(each) > _REPEATS for each in set(segments))


def _bare(host: str) -> str:
    return host.lower().removeprefix("www.")


def _any(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(f"(?:{each})" for each in patterns)
    return re.compile(joined) if joined else None
