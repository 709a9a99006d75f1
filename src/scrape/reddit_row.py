"""A row of Reddit, from whichever dump, as a record."""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from src.core.ledger import Drop
from src.core.records import Record
from src.text.encoding import mended

_GONE = {"[deleted]": "deleted", "[removed]": "removed", "[deleted by user]": "deleted", "[ removed by reddit ]": "removed"}
_TRUE = ("true", "1", "yes", "t")
_ID = re.compile(r"[0-9a-z]{1,13}")
_UNSEEN = re.compile(r"&#x200b;|&zwnj;", re.IGNORECASE)
_OWN = ("_", "nan", "none", "null")


@dataclass(frozen=True)
class Wanted:
    """Which rows stay."""

    kinds: str = "both"
    subreddits: frozenset[str] = frozenset()
    nsfw: bool = False
    min_score: int | None = None
    authors: bool = False
    meta: Mapping[str, str] = field(default_factory=dict)


def reddit_row(place: str, row: Mapping[str, Any], wanted: Wanted) -> Record | Drop:
    """Turn a submission (it has a title) or comment (it has a body alone) into a record.

    Args:
        place: Where the row stands, which names it where it has no id.
        row: Its fields, of the API, of Pushshift or of a table made from either.
        wanted: Which rows stay.
    """
    title = _text(row, "title")
    comment = not title or (title == "Comment" and bool(_text(row, "body")))  # how a table of both marks comments
    own = _id(row, "t1_" if comment else "t3_")
    name = f"reddit:{own}" if own else place
    text = _text(row, "body") if comment else "\n\n".join(filter(None, [title, _gone_or(_text(row, "selftext") or _text(row, "body"))]))
    if reason := _unwanted(row, wanted, comment=comment) or _fault(row, text, title):
        return Drop(name, *reason, dict(row))
    return Record(name, text, _meta(row, name, wanted, comment=comment))


def unwrapped(place: str, row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows that an answer of the API holds: a listing's, each in an envelope of its kind; a plain row is itself."""
    inner = row.get("data")
    if not isinstance(inner, dict) or not isinstance(row.get("kind"), str):
        yield place, row
    elif isinstance(children := inner.get("children"), list):
        for number, child in enumerate(children, 1):
            if isinstance(child, dict):
                yield from unwrapped(f"{place}.{number}", child)
    else:
        yield place, inner


def _unwanted(row: Mapping[str, Any], wanted: Wanted, *, comment: bool) -> tuple[str, str] | None:
    kind = "comments" if comment else "submissions"
    if wanted.kinds not in ("both", kind):
        return "kind", f"of the {kind}"
    subreddit = _text(row, "subreddit")
    if wanted.subreddits and subreddit.casefold().removeprefix("r/") not in wanted.subreddits:
        return "subreddit", subreddit or "none stated"
    if not wanted.nsfw and _is_nsfw(row):
        return "nsfw", "marked as not safe for work"
    score = _number(row.get("score"))
    if wanted.min_score is not None and (score is None or score < wanted.min_score):
        return "low_score", f"{score if score is not None else 'no score'}, under {wanted.min_score}"
    return None


def _fault(row: Mapping[str, Any], text: str, title: str) -> tuple[str, str] | None:
    """Why there is nothing to read: a submission whose text alone is gone keeps its title."""
    if reason := _GONE.get(text.lower()) or _GONE.get(title.lower()):
        return reason, "by its author or a moderator"
    if _text(row, "removed_by_category") in ("deleted", "moderator", "reddit") and not text:
        return "removed", _text(row, "removed_by_category")
    return None if text else ("no_text", f"no title, selftext or body; it has {', '.join(map(str, row))}"[:300])


def _meta(row: Mapping[str, Any], name: str, wanted: Wanted, *, comment: bool) -> dict[str, Any]:
    link = _text(row, "link_id").removeprefix("t3_")
    found = {
        "source": f"reddit:t3_{link}" if comment and link else name,
        "url": _url(row),
        "title": "" if comment else _text(row, "title"),
        "author": _text(row, "author") if wanted.authors and _text(row, "author").lower() not in _GONE else "",
        "subreddit": _text(row, "subreddit"),
        "kind": "comment" if comment else "submission",
        "created": _time(row.get("created_utc") or row.get("created")),
        "score": _number(row.get("score")),
        "nsfw": _is_nsfw(row) or None,
    }
    return {key: value for key, value in found.items() if value not in ("", None)} | dict(wanted.meta)


def _text(row: Mapping[str, Any], key: str) -> str:
    """A field's text: Reddit escapes &, < and > once, what people typed as entities of unseen signs goes."""
    value = row.get(key)
    if not isinstance(value, str) or value.strip().lower() in _OWN:
        return ""
    return mended(_UNSEEN.sub("", html.unescape(value)).replace("&nbsp;", " ")).replace("\r\n", "\n").strip()


def _gone_or(text: str) -> str:
    return "" if text.lower() in _GONE else text


def _id(row: Mapping[str, Any], kind: str) -> str:
    own = str(row.get("id") or row.get("name") or "").removeprefix(kind)
    return kind + own if _ID.fullmatch(own) else ""


def _url(row: Mapping[str, Any]) -> str:
    """The address at Reddit: what a submission links to may be a page of anyone's."""
    permalink = _text(row, "permalink")
    if permalink.startswith("/"):
        return f"https://www.reddit.com{permalink}"
    return permalink or _text(row, "full_link")


def _is_nsfw(row: Mapping[str, Any]) -> bool:
    return any(str(row.get(key)).strip().lower() in _TRUE for key in ("over_18", "over18", "nsfw"))


def _number(value: Any) -> int | None:
    try:
        return int(float(value)) if not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _time(value: Any) -> str:
    try:
        return datetime.fromtimestamp(float(value), UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return value if isinstance(value, str) else ""
