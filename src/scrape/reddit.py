"""The source `reddit`: submissions and comments from dumps (CSV, JSON, Pushshift's .zst), or live through PRAW."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.files import FilesSource
from src.scrape.reddit_row import Wanted, reddit_row, unwrapped
from src.scrape.source import Piece
from src.scrape.table import TABLES, table
from src.text.opened import PACKED, kind


class Praw(Config):
    """What to read live; the keys are REDDIT_CLIENT_ID, REDDIT_CLIENT_SECRET and REDDIT_USER_AGENT of the environment."""

    subreddits: tuple[str, ...] = Field(min_length=1)
    """Names, such as `AskHistorians`."""
    listing: Literal["hot", "new", "top", "rising"] = "top"
    """Which of a subreddit's submissions."""
    time_filter: Literal["hour", "day", "week", "month", "year", "all"] = "all"
    """Of which time the top ones are."""
    limit: int = Field(default=100, ge=1, le=1000)
    """Most submissions of each; the site gives a thousand at most."""
    comments: int = Field(default=0, ge=0)
    """Most comments of each submission."""


class RedditSource(Config):
    """Submissions and comments of Reddit: a record each, `source` being the thread, so that a thread is never split."""

    type: Literal["reddit"] = "reddit"
    path: Path | None = None
    """A dump, a folder of dumps, or a pattern such as `dumps/RC_*.zst`."""
    praw: Praw | None = None
    """Read live instead (extra `reddit`)."""
    kinds: Literal["submissions", "comments", "both"] = "both"
    """What to keep."""
    subreddits: tuple[str, ...] = ()
    """Subreddits to keep, in any case; empty for all."""
    nsfw: bool = False
    """Whether what is marked as not safe for work stays, with `nsfw` in meta."""
    min_score: int | None = None
    """Least score that stays."""
    authors: bool = False
    """Whether the author's name is noted."""
    meta: dict[str, str] = Field(default_factory=dict)
    """What to note about every record besides, such as `licence`."""
    max_line_mb: int = Field(default=16, gt=0)
    """Size above which a row is dropped."""

    @model_validator(mode="after")
    def _reads_something(self) -> "RedditSource":
        if (self.path is None) == (self.praw is None):
            raise ValueError("needs either a `path` of dumps or `praw` to read live")
        return self

    def files(self) -> Iterable[Path]:
        """The dumps."""
        return FilesSource(path=self.path).files() if self.path else ()

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a dump or subreddit."""
        if self.praw:
            yield from (Piece(f"reddit:{name}", partial(self._live, self.praw, name)) for name in self.praw.subreddits)
            return
        for path in self.files():
            yield Piece(path.as_posix(), partial(self._dump, path))

    def _dump(self, path: Path) -> Iterator[Record | Drop]:
        name, wanted = path.as_posix(), self._wanted()
        # Pushshift's files are JSON lines, and have no suffix but that of their packing
        lines = kind(path) not in TABLES and (not kind(path) or path.suffix.lower() in PACKED)
        if not lines and kind(path) not in TABLES:
            yield Drop(name, "unsupported", f"{path.suffix}; known are {' '.join(TABLES)}, .gz and .zst")
            return
        try:
            for found in table(
                path, name, kind=".ndjson" if lines else "", wanted=("title", "body", "selftext"), max_line=self.max_line_mb << 20
            ):
                if isinstance(found, Drop):
                    yield found
                    continue
                yield from (reddit_row(place, row, wanted) for place, row in unwrapped(*found))
        except OSError as error:
            yield Drop(name, "unreadable", error.strerror or str(error))

    def _live(self, praw: Praw, name: str) -> Iterator[Record | Drop]:
        from src.scrape.reddit_live import live

        wanted = self._wanted()
        found = live(name, praw.listing, time_filter=praw.time_filter, limit=praw.limit, comments=praw.comments)
        yield from (reddit_row(f"reddit:{name}:{number}", row, wanted) for number, row in enumerate(found, 1))

    def _wanted(self) -> Wanted:
        return Wanted(
            kinds=self.kinds,
            subreddits=frozenset(each.casefold().removeprefix("r/") for each in self.subreddits),
            nsfw=self.nsfw,
            min_score=self.min_score,
            authors=self.authors,
            meta=self.meta,
        )
