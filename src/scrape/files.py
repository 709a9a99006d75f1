"""The source `files`: documents and tables that lie on disk."""

import glob
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from src.core.config import Config, must_exist
from src.core.ledger import Drop
from src.core.records import Record
from src.core.stage import as_tuple
from src.scrape.document import DOCUMENTS, document
from src.scrape.rows import Columns, rows
from src.scrape.source import Piece
from src.scrape.table import TABLES
from src.scrape.walk import walk
from src.text.encoding import mended
from src.text.opened import kind as suffix


def must_match(path: Path, info: ValidationInfo) -> Path:
    """Fail on a path that is not there and, where it is a pattern, matches nothing."""
    if glob.has_magic(str(path)) and not path.exists():
        if info.context and info.context.get("check_inputs") and not glob.glob(str(path), recursive=True):  # noqa: PTH207 (skips hidden files)
            raise ValueError(f"{str(path)!r} matches no file (looked from {Path.cwd()})")
        return path
    return must_exist(path, info)


Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class FilesSource(Config):
    """Files on disk: txt, md and html are a record each; jsonl, json, csv, tsv and parquet a record a row; .gz and .zst are unpacked."""

    type: Literal["files"] = "files"
    path: Annotated[Path, AfterValidator(must_match)]
    """A file, a folder, or a pattern such as `notes/**/*.md`; hidden files are passed over."""
    recursive: bool = True
    """Whether folders below a folder are read too."""
    text: Names = ("text",)
    """Column(s) of a table that make the text, several joined by an empty line; the others become meta."""
    id: str | None = None
    """Column of a table that names a row; without it rows are named FILE:LINE."""
    delimiter: str = Field(default="", max_length=1)
    """What stands between the cells of a CSV file; found out where empty."""
    meta: dict[str, str] = Field(default_factory=dict)
    """What to note about every record besides, such as `licence: CC BY 4.0`; stands over what a file says."""
    max_line_mb: int = Field(default=16, gt=0)
    """Size above which a row or line of a table is dropped."""
    max_file_mb: int = Field(default=64, gt=0)
    """Size above which a txt, md or html file is dropped."""

    def files(self) -> Iterable[Path]:
        """Every file that is read."""
        return [found for found in self._found() if isinstance(found, Path) and _is_reachable(found)]

    def pieces(self, work: Path, cache: Path) -> Iterator[Piece | Drop]:
        """Yield a piece a file, in the order of names, and a drop for each folder that may not be read."""
        for found in self._found():
            yield found if isinstance(found, Drop) else Piece(found.as_posix(), partial(self._records, found))

    def _found(self) -> list[Path | Drop]:
        errors: list[OSError] = []
        found: set[Path] = set()
        for path in self._roots():
            found.update(walk(path, recursive=self.recursive, on_error=errors.append) if path.is_dir() else [path])
        drops = [Drop(_name(Path(error.filename)), "unreadable", error.strerror or str(error)) for error in errors]
        return [*sorted(found, key=lambda path: path.parts), *sorted(drops, key=lambda drop: drop.id)]

    def _roots(self) -> list[Path]:
        if glob.has_magic(str(self.path)) and not self.path.exists():
            return [Path(each) for each in glob.glob(str(self.path), recursive=True)]  # noqa: PTH207
        return [self.path]

    def _records(self, path: Path) -> Iterator[Record | Drop]:
        name, kind = _name(path), suffix(path)
        try:
            if not path.is_file():  # a pipe would be waited on for ever
                yield Drop(name, "unreadable" if path.is_symlink() else "unsupported", "is no regular file")
            elif kind in DOCUMENTS:
                yield document(path, name, self.meta, max_mb=self.max_file_mb)
            elif kind in TABLES:
                yield from rows(
                    path, name, Columns(self.text, self.id), self.meta, delimiter=self.delimiter, max_line=self.max_line_mb << 20
                )
            else:
                yield Drop(name, "unsupported", f"{kind or 'no extension'}; known are {' '.join(sorted([*DOCUMENTS, *TABLES]))}")
        except OSError as error:
            yield Drop(name, "unreadable", error.strerror or str(error))


def _is_reachable(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _name(path: Path) -> str:
    return mended(path.as_posix())
