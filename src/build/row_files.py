"""Rows of files that others made: JSON lines, JSON, CSV and Parquet, by path or pattern, what is broken as drops."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from src.build.tags import Key
from src.core.config import Config, InputPath
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.text.csv_rows import read_csv
from src.text.json_rows import read_json
from src.text.jsonl import Fault, read_lines

LINES, JSON, TABLES = (".jsonl", ".ndjson"), (".json",), (".csv", ".tsv")


class RowFiles(Config):
    """Files of rows."""

    suffixes: ClassVar[tuple[str, ...]] = (*JSON, *LINES)

    path: InputPath | None = None
    """A file, or a folder of them."""
    glob: str | None = None
    """A pattern in place of `path`, such as chats/**/*.jsonl."""
    group: str | None = None
    """Key of a row that tells which rows belong together and so share a split; without one each row stands for itself."""
    limit: int | None = Field(None, ge=1)
    """Rows read at most from each file."""
    name: str | None = None
    """What the mix and the card call this source; its type where nothing is said."""
    licence: str | None = None
    """Under which terms the rows may be used; the card counts them."""
    tags: dict[Key, str] = Field(default_factory=dict)
    """Tags of every row of this source, such as {tone: dry}, over the row's own."""

    @model_validator(mode="after")
    def one_way_to_name_files(self) -> Self:
        """Take a path or a pattern, not both and not neither."""
        if (self.path is None) == (self.glob is None):
            raise ValueError("give either `path` or `glob`")
        return self

    def files(self) -> Iterable[Path]:
        """The files, in order."""
        if self.glob is not None:
            return sorted(Path(name) for name in glob.glob(self.glob, recursive=True) if Path(name).is_file())  # noqa: PTH207 (absolute ones too)
        if self.path is not None and self.path.is_dir():
            return sorted(each for each in self.path.rglob("*") if each.suffix in self.suffixes)
        return [self.path] if self.path else []

    def rows(self, wanted: Iterable[str] = ()) -> Iterator[tuple[str, dict[str, Any]] | Drop]:
        """Yield each row with its name, `file:line`; `wanted` columns tell which delimiter of a CSV file is right."""
        files = list(self.files())
        if not files:
            kind = getattr(self, "type", "files")
            raise MlxError(f"{kind}: {self.glob or self.path}: no files", "set `path` to a file, or `glob` to a pattern")
        for file in files:
            yield from named_rows(file, limit=self.limit, wanted=wanted)

    def key(self, name: str, row: dict[str, Any]) -> str:
        """What decides about the row's split: its group, or its name."""
        return name if self.group is None or row.get(self.group) is None else f"{self.group}:{row[self.group]}"


def named_rows(file: Path, *, limit: int | None = None, wanted: Iterable[str] = ()) -> Iterator[tuple[str, dict[str, Any]] | Drop]:
    """Yield the rows of one file, each with its name `file:line`, and drops for those that cannot be read."""
    for count, found in enumerate(_read(file, wanted), start=1):
        if limit is not None and count > limit:
            return
        if isinstance(found, Fault):
            yield Drop(f"{file.as_posix()}:{found.line}", found.reason, found.detail, {"start": found.start})
        else:
            yield f"{file.as_posix()}:{found[0]}", found[1]


def _read(file: Path, wanted: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    if file.suffix in TABLES:
        return read_csv(file, wanted=wanted)
    if file.suffix == ".parquet":
        return _parquet(file)
    return read_json(file) if file.suffix in JSON else read_lines(file)


def _parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    import polars as pl

    try:
        table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        yield Fault(0, "bad_parquet", str(error).split("\n")[0])
        return
    yield from enumerate(table.iter_rows(named=True), start=1)
