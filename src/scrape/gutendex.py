"""Finding books of Project Gutenberg through the gutendex API: by author, words, subject, language, years."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import Field, field_validator

from src.core.config import Config
from src.core.errors import MlxError
from src.core.files import atomic
from src.core.ledger import Drop
from src.scrape.fetcher import Fetcher, FetchFailedError, NotFoundError
from src.scrape.gutenberg_meta import LICENCE

_PLAIN = re.compile(r"text/plain\b")
_WORD = re.compile(r"\w+")
_MOST_PAGES = 3000


class GutendexQuery(Config):
    """Which books; all that is said has to hold. Only books that are free in the USA are found."""

    author: str = ""
    """Words of an author's name, such as `Twain, Mark`."""
    search: str = ""
    """Words of the title or an author's name."""
    topic: str = ""
    """A phrase of a subject or bookshelf, such as `humorous stories`."""
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = ()
    """ISO codes of the books' languages; empty for all."""
    author_year_start: int | None = None
    """An author was alive in this year or later."""
    author_year_end: int | None = None
    """An author was alive in this year or earlier."""
    sort: Literal["popular", "ascending", "descending"] = "popular"
    """The order: by downloads, or by number up or down."""
    limit: int = Field(default=100, gt=0)
    """Most books to take."""
    url: str = "https://gutendex.com"
    """Address of the API; better one of your own, the public one is small."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError(f"{value!r} is no address like https://gutendex.example")
        return value.rstrip("/")

    @property
    def parameters(self) -> dict[str, str]:
        """The query as the API spells it."""
        stated = {
            "search": " ".join([*_WORD.findall(self.author), *self.search.split()]),
            "topic": self.topic,
            "languages": ",".join(self.languages),
            "author_year_start": self.author_year_start,
            "author_year_end": self.author_year_end,
            "copyright": "false",
            "sort": self.sort,
        }
        return {key: str(value) for key, value in stated.items() if value not in ("", None)}

    def books(self, fetcher: Fetcher, work: Path) -> Iterator["Found | Drop"]:
        """Yield what the API finds, page after page; pages are kept in `work`, so that a restart sees the same books."""
        taken = 0
        for row in self._rows(fetcher, work):
            found = _found(row)
            if isinstance(found, Found) and not self._by_author(row):
                continue  # the API looks for the words in titles too
            yield found
            taken += isinstance(found, Found)
            if taken == self.limit:
                return

    def _rows(self, fetcher: Fetcher, work: Path) -> Iterator[Any]:
        query = urlencode(self.parameters)
        for number in range(1, _MOST_PAGES):
            page = self._page(fetcher, f"{self.url}/books/?{query}", work / f"page-{number}.json")
            yield from page.get("results") or ()
            # only the query of `next` is taken: behind a proxy it may name another host or scheme
            if not page.get("next") or not (query := urlsplit(str(page["next"])).query):
                return

    def _page(self, fetcher: Fetcher, url: str, kept: Path) -> dict[str, Any]:
        try:
            data = kept.read_bytes() if kept.exists() else fetcher.get(url)
            page = json.loads(data)
        except NotFoundError:  # a page past the last one
            return {}
        except (FetchFailedError, ValueError) as error:
            raise MlxError(f"{url}: no list of books: {error}", "check the source's search.url, or name the books by `ids`") from None
        if not isinstance(page, dict) or not isinstance(page.get("results"), list):
            raise MlxError(f"{url}: is no answer of gutendex", "check the source's search.url")
        if not kept.exists():
            with atomic(kept, "wb") as stream:
                stream.write(data)
        return page

    def _by_author(self, row: dict[str, Any]) -> bool:
        wanted = {word.casefold() for word in _WORD.findall(self.author)}
        names = (str(person.get("name")) for person in _people(row, "authors"))
        return not wanted or any(wanted <= {word.casefold() for word in _WORD.findall(name)} for name in names)


@dataclass(frozen=True)
class Found:
    """A book as the catalogue knows it."""

    number: int
    """Its number."""
    meta: dict[str, Any]
    """Title, author, language, licence, subjects as far as stated."""
    files: tuple[str, ...] = ()
    """Paths below a mirror at which its plain text should lie."""


def _found(row: Any) -> Found | Drop:
    if not isinstance(row, dict) or not isinstance(row.get("id"), int):
        return Drop("gutenberg:?", "bad_row", "a book without a number", row if isinstance(row, dict) else None)
    name = f"gutenberg:{row['id']}"
    if row.get("copyright") is not False:
        return Drop(name, "copyrighted", "copyrighted" if row.get("copyright") else "copyright unknown", row)
    if str(row.get("media_type") or "Text") != "Text":
        return Drop(name, "no_text", f"media type {row['media_type']}", row)
    return Found(number=row["id"], meta=_meta(row), files=tuple(_paths(row)))


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    languages = [each for each in row.get("languages") or () if isinstance(each, str)]
    summaries = row.get("summaries") or ()  # only newer answers have them
    found = {
        "title": " ".join(str(row.get("title") or "").split()),
        "author": "; ".join(str(person["name"]) for person in _people(row, "authors") if person.get("name")),
        "language": languages[0] if len(languages) == 1 else "",
        "licence": LICENCE,
        "subjects": [*(row.get("subjects") or ()), *(row.get("bookshelves") or ())],
        "summary": str(summaries[0]) if summaries else "",
    }
    return {key: value for key, value in found.items() if value}


def _people(row: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [person for person in row.get(role) or () if isinstance(person, dict)]


def _paths(row: dict[str, Any]) -> Iterator[str]:
    """Where a mirror should have the plain text, UTF-8 first: `formats` names it at the site for humans."""
    formats = row.get("formats")
    plain = [(str(kind), str(url)) for kind, url in (formats if isinstance(formats, dict) else {}).items() if _PLAIN.match(str(kind))]
    for _, url in sorted(plain, key=lambda each: "utf-8" not in each[0].lower()):
        file = url.rsplit("/", 1)[-1]
        number = str(row["id"])
        if re.fullmatch(rf"{number}(-[08])?\.txt", file):
            yield f"{'/'.join(number[:-1]) or '0'}/{number}/{file}"
        elif re.fullmatch(rf"(pg)?{number}\.txt(\.utf-?8)?", file):
            yield f"cache/epub/{number}/pg{number}.txt"
