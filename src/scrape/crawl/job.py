"""What the crawling process is told: the source as configured, and where its files lie."""

from pathlib import Path

from src.core.config import Config
from src.scrape.web import Shard, WebSource


class Job(Config):
    """One crawl."""

    source: WebSource
    """What to crawl, and how."""
    frontier: Path
    """The SQLite file of pages fetched and to be fetched."""
    cache: Path
    """The SQLite file of answers, shared by all crawls."""
    shard: Shard | None = None
    """Which hosts are this process's."""
