"""How a network source behaves: the settings that all of them share."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from src.core.config import Config, Cosmetic
from src.scrape.fetcher import Fetcher
from src.scrape.http_cache import HttpCache


class Manners(Config):
    """Politeness and limits."""

    delay: Annotated[float, Field(ge=0), Cosmetic()] = 2.0
    """Seconds between two requests to a host; Retry-After is waited for besides."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 30.0
    """Seconds to wait for an answer."""
    max_mb: int = Field(default=32, gt=0)
    """Size above which a file or answer is not read."""
    allow_private: bool = False
    """Whether addresses of this machine and of private networks may be asked."""
    proxy: Annotated[bool, Cosmetic()] = False
    """Whether the proxy that the environment names is used; what it connects to cannot be checked."""

    def fetcher(self, cache: Path | None = None, hosts: Collection[str] = ()) -> Fetcher:
        """What fetches with these manners; `hosts` are the only ones that it asks."""
        return Fetcher(
            delay=self.delay,
            timeout=self.timeout,
            max_mb=self.max_mb,
            allow_private=self.allow_private,
            proxy=self.proxy,
            hosts=hosts,
            cache=HttpCache(cache) if cache else None,
        )
