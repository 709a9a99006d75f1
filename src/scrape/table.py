"""The rows of a table file, each with its place, and what is wrong with the file as drops."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from src.core.ledger import Drop
from src.text.csv_rows import read_csv
from src.text.encoding import is_binary
from src.text.json_rows import read_json
from src.text.jsonl import Fault, read_lines
from src.text.opened import TruncatedError, opened
from src.text.opened import kind as suffix

TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_BATCH = 5000
_HEAD = 1 << 16


def table(
    path: Path, name: str, *, kind: str = "", wanted: Iterable[str] = (), delimiter: str = "", max_line: int
) -> Iterator[tuple[str, dict[str, Any]] | Drop]:
    """Read the table at `path`.

    Args:
        path: A file, which may be compressed.
        name: What its rows are named after: `NAME:LINE`.
        kind: What it holds, one of `TABLES`; by its name where empty.
        wanted: Columns that a CSV file should have: they tell its delimiter.
        delimiter: What stands between the cells of a CSV file; found out where empty.
        max_line: Size above which a row is dropped.

    Yields:
        A row's name and the row; or a drop.
    """
    kind = kind or suffix(path)
    if fault := _unfit(path, kind):
        yield Drop(name, *fault)
        return
    found: tuple[int, dict[str, Any]] | Fault | None = None
    for found in _read(path, kind, wanted, delimiter=delimiter, max_line=max_line):
        if isinstance(found, Fault):
            row = {"start": found.start} if found.start else None
            yield Drop(f"{name}:{found.line}" if found.line else name, found.reason, found.detail, row)
        else:
            yield f"{name}:{found[0]}", found[1]
    if found is None:
        yield Drop(name, "empty", "no rows")


def _unfit(path: Path, kind: str) -> tuple[str, str] | None:
    if kind == ".parquet" and path.suffix.lower() != kind:
        return "unsupported", "a parquet file is compressed inside, and read as it is"
    head = _head(path)
    if not head.strip():
        return "empty", ""
    if kind != ".parquet" and is_binary(head):
        return "binary", "holds NUL or many control bytes"
    return None


def _head(path: Path) -> bytes:
    head = b""
    with opened(path) as stream:
        try:
            while len(head) < _HEAD and (more := stream.read1(_HEAD)):  # type: ignore[attr-defined]
                head += more
        except TruncatedError:
            return head or b"?"  # what it has is read, and the trouble met, by who reads it
    return head


def _read(path: Path, kind: str, wanted: Iterable[str], *, delimiter: str, max_line: int) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    if kind == ".parquet":
        return _read_parquet(path)
    if kind == ".json":
        return read_json(path, max_row=max_line)
    if kind in (".csv", ".tsv"):
        return read_csv(path, delimiter=delimiter or ("\t" if kind == ".tsv" else ""), wanted=wanted, max_line=max_line)
    return read_lines(path, max_line=max_line)


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    import polars as pl

    number = 0
    try:
        table = pl.scan_parquet(path, glob=False)
        while batch := table.slice(number, _BATCH).collect().to_dicts():
            for row in batch:
                number += 1
                yield number, row
    except pl.exceptions.PolarsError as error:
        yield Fault(0, "bad_parquet", str(error).splitlines()[0])
