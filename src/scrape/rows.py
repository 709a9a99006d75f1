"""A file that is a table: every row a record, its other columns meta."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from src.core.ledger import Drop
from src.core.records import Record
from src.text.csv_rows import read_csv
from src.text.encoding import is_binary, mended
from src.text.json_rows import read_json
from src.text.jsonl import Fault, read_lines
from src.text.opened import TruncatedError, opened
from src.text.opened import kind as suffix

TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_BATCH = 5000
_HEAD = 1 << 16


class Columns(NamedTuple):
    """Which columns are what."""

    text: tuple[str, ...]
    id: str | None


def rows(path: Path, name: str, columns: Columns, extra: Mapping[str, str], *, delimiter: str, max_line: int) -> Iterator[Record | Drop]:
    """Read the table at `path`; `extra` goes over what its rows say."""
    kind = suffix(path)
    if fault := _unfit(path, kind):
        yield Drop(name, *fault)
        return
    for found in _read(path, kind, columns, delimiter=delimiter, max_line=max_line):
        if isinstance(found, Fault):
            row = {"start": found.start} if found.start else None
            yield Drop(f"{name}:{found.line}" if found.line else name, found.reason, found.detail, row)
        else:
            yield _record(f"{name}:{found[0]}", found[1], columns, extra)


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


def _read(path: Path, kind: str, columns: Columns, *, delimiter: str, max_line: int) -> Iterator[tuple[int, dict[str, Any]] | Fault]:
    if kind == ".parquet":
        return _read_parquet(path)
    if kind == ".json":
        return read_json(path, max_row=max_line)
    if kind in (".csv", ".tsv"):
        return read_csv(path, delimiter=delimiter or ("\t" if kind == ".tsv" else ""), wanted=columns.text, max_line=max_line)
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


def _record(name: str, row: dict[str, Any], columns: Columns, extra: Mapping[str, str]) -> Record | Drop:
    text = "\n\n".join(part for column in columns.text if (part := _text(row.get(column))))
    if not text:
        return Drop(name, "no_text", f"nothing in {' or '.join(columns.text)}; it has {', '.join(map(str, row))}"[:300], row)
    if columns.id is not None:
        if not (own := _text(row.get(columns.id))):
            return Drop(name, "no_id", f"nothing in {columns.id}", row)
        name = mended(own)
    meta = {str(key): value for key, value in row.items() if key not in columns.text and key != columns.id and _says(value)}
    return Record(name, text, {"source": name} | meta | dict(extra))


def _says(value: Any) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    """A cell's text; lists and objects are none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip()
