"""A file that is a table: every row a record, its other columns meta."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.table import table
from src.text.encoding import mended


class Columns(NamedTuple):
    """Which columns are what."""

    text: tuple[str, ...]
    id: str | None


def rows(path: Path, name: str, columns: Columns, extra: Mapping[str, str], *, delimiter: str, max_line: int) -> Iterator[Record | Drop]:
    """Read the table at `path`; `extra` goes over what its rows say."""
    for found in table(path, name, wanted=columns.text, delimiter=delimiter, max_line=max_line):
        yield found if isinstance(found, Drop) else record(*found, columns, extra)


def record(name: str, row: Mapping[str, Any], columns: Columns, extra: Mapping[str, str]) -> Record | Drop:
    """Turn a row into the record `name`, or of the name in its `id` column."""
    text = "\n\n".join(part for column in columns.text if (part := _text(row.get(column))))
    if not text:
        return Drop(name, "no_text", f"nothing in {' or '.join(columns.text)}; it has {', '.join(map(str, row))}"[:300], dict(row))
    if columns.id is not None:
        if not (own := _text(row.get(columns.id))):
            return Drop(name, "no_id", f"nothing in {columns.id}", dict(row))
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
