from typing import Annotated, Literal

from pydantic import Field

from src.core.config import Config
from src.core.describe import describe
from src.scrape import ScrapeConfig


class Inner(Config):
    """What lies within."""

    size: int = 3
    """How large."""


class One(Config):
    """A part."""

    type: Literal["one"] = "one"
    below: Inner | None = None
    """More of it."""
    many: tuple[Inner, ...] = ()
    """Several."""


class Two(Config):
    """Another part."""

    type: Literal["two"] = "two"


class Outer(Config):
    parts: tuple[Annotated[One | Two, Field(discriminator="type")], ...] = (Two(),)
    """What there is."""
    inner: Inner = Inner()
    """What is always there."""


def test_everything_that_can_be_set_is_listed_however_deep_it_lies():
    assert list(describe(Outer, "s")) == [
        "  s.parts = [two]  What there is.",
        "    - one: A part.",
        "        below = null  More of it.",
        "        below.size = 3  How large.",
        "        many = []  Several.",
        "          - each: What lies within.",
        "              size = 3  How large.",
        "    - two: Another part.",
        "  s.inner: What is always there.",
        "  s.inner.size = 3  How large.",
    ]


def test_the_nested_settings_of_sources_are_listed():
    lines = {line.strip().split(" ")[0] for line in describe(ScrapeConfig, "scrape")}
    assert {"search.author", "praw.subreddits", "scrape.shard.count", "latitude"} <= lines
