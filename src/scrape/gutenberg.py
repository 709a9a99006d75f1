"""The source `gutenberg`: books of Project Gutenberg, from a folder or a mirror, without anything of the project's own."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from src.core.config import Config, Cosmetic, InputPath
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.gutenberg_meta import gutenberg_meta
from src.scrape.gutenberg_text import gutenberg_text
from src.scrape.mirror import FetchFailedError, Mirror, NotFoundError, is_forbidden
from src.scrape.read_text import Unread, read_text
from src.scrape.shelf import Book, fetch_book, shelf
from src.scrape.source import Piece
from src.text.encoding import mended

_HOPELESS = 3  # books in a row that no mirror answers for, before anything came


class GutenbergSource(Config):
    """Books of Project Gutenberg, stripped of its header, footer, credits and name."""

    type: Literal["gutenberg"] = "gutenberg"
    ids: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Numbers of the books; with a folder, empty takes all that lie there."""
    folder: InputPath | None = None
    """Folder with the books (`76/76-0.txt`, `Title_76/76-0.txt` or a mirror's `7/76/76-0.txt`); nothing is fetched then."""
    base_url: str = "https://aleph.pglaf.org"
    """Mirror to fetch from; www.gutenberg.org is for human readers only and refused."""
    delay: Annotated[float, Field(ge=0), Cosmetic()] = 2.0
    """Seconds between two requests to the mirror."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 30.0
    """Seconds to wait for the mirror to answer."""
    max_mb: int = Field(default=32, gt=0)
    """Size above which a file is not read."""

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
        if not self.ids and self.folder is None:
            raise ValueError("name the books by `ids`, or a `folder` that holds them")
        return self

    def files(self) -> Iterable[Path]:
        """What the source reads: the folder, where it has one."""
        return [self.folder] if self.folder else []

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a book, or why there is none; fetched files are kept in `work`."""
        for book in self._local(self.folder) if self.folder else self._fetched(work / "mirror"):
            yield book if isinstance(book, Drop) else Piece(f"gutenberg:{book.number}", partial(self._records, book))

    def _local(self, folder: Path) -> Iterator[Book | Drop]:
        books, strays = shelf(folder)
        for number in self.ids or sorted(books):
            yield books.get(number) or Drop(f"gutenberg:{number}", "not_found", f"no text of it in {folder}")
        if not self.ids:
            yield from (Drop(path.as_posix(), "unsupported", "no book's number in its name or folder's") for path in strays)

    def _fetched(self, work: Path) -> Iterator[Book | Drop]:
        mirror = Mirror(self.base_url, delay=self.delay, timeout=self.timeout, max_mb=self.max_mb)
        missing: list[Drop] = []
        for count, number in enumerate(self.ids, 1):
            try:
                yield fetch_book(mirror, number, work / str(number))
                continue
            except NotFoundError:
                missing.append(Drop(f"gutenberg:{number}", "not_found", f"no text of it at {self.base_url}"))
            except FetchFailedError as error:
                missing.append(Drop(f"gutenberg:{number}", "fetch_failed", str(error)))
                if not error.reached and len(missing) == count == _HOPELESS:
                    break
            yield missing[-1]
        if len(missing) == count:
            raise MlxError(
                f"none of {len(self.ids)} books could be fetched: {missing[0].detail}",
                "check the network and the source's base_url, or set its `folder` to books that lie here",
            )

    def _records(self, book: Book) -> Iterator[Record | Drop]:
        for name, path in book.files:
            yield self._record(book, mended(f"gutenberg:{book.number}/{name}"), path)

    def _record(self, book: Book, name: str, path: Path) -> Record | Drop:
        try:
            raw = read_text(path, max_mb=self.max_mb)
        except OSError as error:
            return Drop(name, "unreadable", error.strerror or str(error))
        if isinstance(raw, Unread):
            return Drop(name, raw.reason, raw.detail)
        meta = gutenberg_meta(book.folders, book.number, raw)
        if "copyright" in meta["licence"].lower():
            return Drop(name, "copyrighted", meta["licence"])
        text = gutenberg_text(raw)
        source = {"source": f"gutenberg:{book.number}", "url": f"https://www.gutenberg.org/ebooks/{book.number}"}
        return Record(name, text, source | meta) if text else Drop(name, "no_text", "nothing between header and footer")
