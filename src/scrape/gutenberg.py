"""The source `gutenberg`: books by number or by search, from a folder or a mirror, without anything of the project's own."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from src.core.config import InputPath
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.fetcher import FetchFailedError, NotFoundError, is_forbidden
from src.scrape.gutenberg_meta import gutenberg_meta
from src.scrape.gutenberg_text import gutenberg_text
from src.scrape.gutendex import Found, GutendexQuery
from src.scrape.manners import Manners
from src.scrape.mirror import Mirror
from src.scrape.read_text import Unread, read_text
from src.scrape.shelf import Book, fetch_book, shelf
from src.scrape.source import Piece
from src.text.encoding import mended

_HOPELESS = 3  # books in a row that no mirror answers for, before anything came


class GutenbergSource(Manners):
    """Books of Project Gutenberg, stripped of its header, footer, credits and name."""

    type: Literal["gutenberg"] = "gutenberg"
    ids: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Numbers of the books; with a folder, empty takes all that lie there."""
    search: GutendexQuery | None = None
    """Books to find through the gutendex API, besides those of `ids`."""
    folder: InputPath | None = None
    """Folder with the books (`76/76-0.txt`, `Title_76/76-0.txt` or a mirror's `7/76/76-0.txt`); nothing is fetched then."""
    base_url: str = "https://aleph.pglaf.org"
    """Mirror to fetch from; www.gutenberg.org is for human readers only and refused."""

    @field_validator("base_url")
    @classmethod
    def _is_mirror(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError(f"{value!r} is no address like https://mirror.example/gutenberg")
        if is_forbidden(value):
            raise ValueError(f"{value!r} is for human readers only and blocks programs; name a mirror, or set `folder`")
        return value

    @model_validator(mode="after")
    def _names_books(self) -> "GutenbergSource":
        if not self.ids and self.folder is None and self.search is None:
            raise ValueError("name the books by `ids` or `search`, or a `folder` that holds them")
        if self.folder and self.search:
            raise ValueError("`search` asks the network and `folder` does not; take one of them")
        return self

    def files(self) -> Iterable[Path]:
        """What the source reads: the folder, where it has one."""
        return [self.folder] if self.folder else []

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a book, or why there is none; fetched files are kept in `work`."""
        if self.folder:
            books: Iterable[tuple[Book | Drop, dict[str, Any]]] = ((book, {}) for book in self._local(self.folder))
        else:
            books = self._fetched(work, cache)
        for book, meta in books:
            yield book if isinstance(book, Drop) else Piece(f"gutenberg:{book.number}", partial(self._records, book, meta))

    def _local(self, folder: Path) -> Iterator[Book | Drop]:
        books, strays = shelf(folder)
        for number in self.ids or sorted(books):
            yield books.get(number) or Drop(f"gutenberg:{number}", "not_found", f"no text of it in {folder}")
        if not self.ids:
            yield from (Drop(path.as_posix(), "unsupported", "no book's number in its name or folder's") for path in strays)

    def _fetched(self, work: Path, cache: Path) -> Iterator[tuple[Book | Drop, dict[str, Any]]]:
        mirror = Mirror(self.base_url, self.fetcher(cache))
        missing: list[Drop] = []
        count = 0
        for wanted in self._wanted(work, cache):
            if isinstance(wanted, Drop):
                yield wanted, {}
                continue
            count += 1
            found, reached = self._fetch(mirror, wanted, work / "mirror")
            yield found, wanted.meta
            missing += [found] if isinstance(found, Drop) else []
            if not reached and len(missing) == count == _HOPELESS:
                break
        if len(missing) == count:
            first = missing[0].detail if missing else "the search found none"
            raise MlxError(
                f"none of {max(count, len(self.ids))} books could be fetched: {first}",
                "check the network and the source's base_url, or set its `folder` to books that lie here",
            )

    def _wanted(self, work: Path, cache: Path) -> Iterator[Found | Drop]:
        yield from (Found(number=number, meta={}) for number in self.ids)
        if self.search:
            found = self.search.books(self.fetcher(cache), work / "gutendex")
            yield from (each for each in found if isinstance(each, Drop) or each.number not in self.ids)

    def _fetch(self, mirror: Mirror, wanted: Found, work: Path) -> tuple[Book | Drop, bool]:
        """The book, or why there is none; and whether the mirror answered at all."""
        number = wanted.number
        try:
            return fetch_book(mirror, number, work / str(number), files=wanted.files, record=not wanted.meta), True
        except NotFoundError:
            return Drop(f"gutenberg:{number}", "not_found", f"no text of it at {self.base_url}"), True
        except FetchFailedError as error:
            return Drop(f"gutenberg:{number}", "fetch_failed", str(error)), error.reached

    def _records(self, book: Book, known: dict[str, Any]) -> Iterator[Record | Drop]:
        for name, path in book.files:
            yield self._record(book, mended(f"gutenberg:{book.number}/{name}"), path, known)

    def _record(self, book: Book, name: str, path: Path, known: dict[str, Any]) -> Record | Drop:
        try:
            raw = read_text(path, max_mb=self.max_mb)
        except OSError as error:
            return Drop(name, "unreadable", error.strerror or str(error))
        if isinstance(raw, Unread):
            return Drop(name, raw.reason, raw.detail)
        meta = gutenberg_meta(book.folders, book.number, raw) | known
        if "copyright" in meta["licence"].lower():
            return Drop(name, "copyrighted", meta["licence"])
        text = gutenberg_text(raw)
        source = {"source": f"gutenberg:{book.number}", "url": f"https://www.gutenberg.org/ebooks/{book.number}"}
        return Record(name, text, source | meta) if text else Drop(name, "no_text", "nothing between header and footer")
