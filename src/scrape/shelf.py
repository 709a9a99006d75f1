"""Finding a book's text files: in a folder, whichever way it is laid out, or at a mirror."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.core.files import write_text
from src.scrape.fetcher import FetchFailedError, NotFoundError
from src.scrape.mirror import Mirror
from src.scrape.walk import walk

_FOLDER = re.compile(r"^(?:.*_)?(\d+)$")
_FILE = re.compile(r"^(?:pg)?(\d+)(?:-[a-z0-9]+)?\.txt(?:\.utf-?8)?$", re.IGNORECASE)
_TEXT = re.compile(r"\.txt(?:\.utf-?8)?$", re.IGNORECASE)
_NO_BOOK = re.compile(r"^(licen[cs]e|readme|contributing|copying|notice|index|changes?|donate)\b", re.IGNORECASE)
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


@dataclass(frozen=True)
class Book:
    """A book's number, its text files by name, and where its catalogue record may lie."""

    number: int
    files: tuple[tuple[str, Path], ...]
    folders: tuple[Path, ...]


def shelf(folder: Path) -> tuple[dict[int, Book], list[Path]]:
    """Find all books under `folder`, and the text files that belong to none."""
    found: dict[int, list[tuple[str, Path]]] = {}
    strays = []
    for path in walk(folder):
        if not _TEXT.search(path.name) or _NO_BOOK.match(path.name):
            continue
        if place := _place(folder, path):
            number, name = place
            found.setdefault(number, []).append((name, path))
        else:
            strays.append(path)
    return {number: Book(number, _unique(files), _record_folders(folder, number, files)) for number, files in found.items()}, strays


def fetch_book(mirror: Mirror, number: int, to: Path, *, files: tuple[str, ...] = (), record: bool = True) -> Book:
    """Have a book's best text and its catalogue record in the folder `to`, asking only for what is not there yet.

    Args:
        mirror: Where from.
        number: The book's number.
        to: Where to.
        files: Paths at the mirror where its text is looked for first.
        record: Whether the catalogue record is wanted.

    Raises:
        NotFoundError: Where the mirror has no text of it.
        FetchFailedError: Where it could not be had.
    """
    text = next((path for path in sorted(to.glob("*.txt"))), None) or _fetch_text(mirror, number, to, files)
    if record:
        _fetch_record(mirror, number, to / f"pg{number}.rdf")
    return Book(number, ((text.name, text),), (to,))


def _fetch_record(mirror: Mirror, number: int, to: Path) -> None:
    try:
        mirror.fetch(f"cache/epub/{number}/{to.name}", to)
    except NotFoundError:
        write_text(to, "")  # so that it is not asked for again


def _fetch_text(mirror: Mirror, number: int, to: Path, files: tuple[str, ...]) -> Path:
    folder = f"{'/'.join(str(number)[:-1]) or '0'}/{number}"
    guesses = (f"{folder}/{number}-0.txt", f"{folder}/{number}-8.txt", f"{folder}/{number}.txt", f"cache/epub/{number}/pg{number}.txt")
    for path in dict.fromkeys([*files, *guesses]):
        try:
            mirror.fetch(path, text := to / path.rsplit("/", 1)[1])
        except NotFoundError:
            continue
        if _WEB_PAGE.match(text.read_bytes()[:1000]):
            text.unlink()
            raise FetchFailedError(f"{mirror.base_url}/{path}: is a web page, not a text", reached=True)
        return text
    raise NotFoundError(str(number))


def _place(folder: Path, path: Path) -> tuple[int, str] | None:
    """The number of the book that a file belongs to, and its name within the book."""
    parts = path.relative_to(folder).parts
    for depth in range(len(parts) - 1, 0, -1):
        if match := _FOLDER.match(parts[depth - 1]):
            return int(match[1]), "/".join(parts[depth:])
    match = _FILE.match(path.name) or _FOLDER.match(folder.resolve().name)
    return (int(match[1]), path.relative_to(folder).as_posix()) if match else None


def _unique(files: list[tuple[str, Path]]) -> tuple[tuple[str, Path], ...]:
    """Files by name; a name found in two places is told apart by the place."""
    names: set[str] = set()
    told = []
    for name, path in sorted(files):
        told.append((path.as_posix() if name in names else name, path))
        names.add(name)
    return tuple(told)


def _record_folders(folder: Path, number: int, files: list[tuple[str, Path]]) -> tuple[Path, ...]:
    places: Iterator[Path] = (path.parents[name.count("/")] for name, path in files)
    return tuple(dict.fromkeys([*places, folder / "cache" / "epub" / str(number)]))
