"""Reading Reddit live through PRAW, as the rows that its dumps have."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from src.core.errors import MlxError
from src.core.secrets import secret

_FIELDS = ("id", "name", "title", "selftext", "body", "link_id", "permalink", "score", "over_18", "created_utc", "removed_by_category")


def live(subreddit: str, listing: str, *, time_filter: str, limit: int, comments: int) -> Iterator[dict[str, Any]]:
    """Yield a subreddit's submissions, each followed by its comments, best first; PRAW keeps to the site's rate limit.

    Raises:
        MlxError: Where PRAW or its keys are missing, or the site refuses.
    """
    reddit, refusals = _session()
    name = subreddit.removeprefix("r/")
    try:
        found = getattr(reddit.subreddit(name), listing)
        for submission in found(limit=limit, time_filter=time_filter) if listing == "top" else found(limit=limit):
            yield _row(submission)
            yield from (_row(comment) for comment in _comments(submission, comments))
    except refusals as error:
        raise MlxError(f"reddit: r/{name} cannot be read: {error}", "check the name, and the keys REDDIT_… in .env") from None


def _session() -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        import praw
        from prawcore.exceptions import PrawcoreException
    except ImportError:
        raise MlxError("praw is not installed", "uv sync --extra reddit") from None
    why = "reading Reddit needs an app's keys, see https://www.reddit.com/prefs/apps"
    reddit = praw.Reddit(
        client_id=secret("REDDIT_CLIENT_ID", why),
        client_secret=secret("REDDIT_CLIENT_SECRET", why),
        user_agent=secret("REDDIT_USER_AGENT", "who reads, such as `linux:my-corpus:1.0 (by u/me)`"),
        check_for_updates=False,
    )
    reddit.read_only = True
    return reddit, (PrawcoreException,)


def _comments(submission: Any, most: int) -> Iterator[Any]:
    if not most:
        return
    submission.comments.replace_more(limit=0)
    yield from islice(submission.comments.list(), most)


def _row(thing: Any) -> dict[str, Any]:
    """The fields of a submission or comment; those that it has not are left out."""
    row = {field: value for field in _FIELDS if (value := getattr(thing, field, None)) is not None}
    author = getattr(thing, "author", None)
    return row | {"subreddit": str(getattr(thing, "subreddit", "")), "author": str(author) if author else "[deleted]"}
