"""The documents of a part of a table, and the rows of it that stay and that go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Record
from src.core.tables import SCHEMA, open_records
from src.dedup.documents import Batch, number_of
from src.dedup.parts import Part
from src.text.kernels import SLACK

_ROWS = 2000


def tables(part: Part, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a part of a table, some thousand at a time."""
    with open_records(Path(part.file)) as table:
        groups = list(range(part.start, part.end))
        yield from table.iter_batches(_ROWS, row_groups=groups, columns=columns, use_threads=False)


def table_batches(part: Part, score: str | None) -> Iterator[Batch]:
    """Read the documents of a part; rows without a text are passed over."""
    start = 0
    for table in tables(part, ["id", "text", "meta"] if score else ["id", "text"]):
        valid = table.column("text").is_valid()
        rows = start + np.flatnonzero(valid.to_numpy(zero_copy_only=False))
        start += table.num_rows
        table = table.filter(valid)
        scores = [number_of(orjson.loads(meta or "{}").get(score)) for meta in table.column("meta").to_pylist()] if score else None
        text, bounds = _buffers(table.column("text"))
        names = [str(name or "") for name in table.column("id").to_pylist()]
        yield Batch(text, bounds[:-1], bounds[1:], rows, start, None, names, scores)


def _buffers(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes and bounds of a column of texts, without a copy where it has room behind."""
    column = column if pa.types.is_large_string(column.type) else column.cast(pa.large_string())
    _, bounds, data = column.buffers()
    edges = np.frombuffer(bounds, np.int64)[column.offset : column.offset + len(column) + 1] if bounds else np.zeros(1, np.int64)
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    if text.size < edges[-1] + SLACK:
        text = np.concatenate([text[: edges[-1]], np.zeros(SLACK, np.uint8)])
    return text, edges


def sort_rows(part: Part, gone: dict[int, tuple[str, str]]) -> tuple[pa.Table, list[Drop]]:
    """The rows of a part that stay, and a drop for each other; `gone` has reason and detail by number of the row."""
    drops: list[Drop] = []
    kept, start = [], 0
    for batch in tables(part, SCHEMA.names):
        table = pa.Table.from_batches([batch]).cast(SCHEMA)
        stays = table.column("text").is_valid().to_numpy().copy()
        stays[[row - start for row in gone if start <= row < start + len(stays)]] = False
        places = np.flatnonzero(~stays).tolist()
        rows_gone = table.take(pa.array(places, pa.int64())).to_pylist()
        drops += [_drop(row, gone.get(start + at)) for at, row in zip(places, rows_gone, strict=True)]
        kept.append(_whole(table.filter(pa.array(stays))))
        start += len(stays)
    return pa.concat_tables(kept) if kept else SCHEMA.empty_table(), drops


def _whole(table: pa.Table) -> pa.Table:
    """Without nulls, which a table of others may have."""
    columns = [table.column("id").fill_null(""), table.column("text"), table.column("meta").fill_null("{}")]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def _drop(row: dict[str, Any], fate: tuple[str, str] | None) -> Drop:
    record = Record(row["id"] or "", row["text"] or "", orjson.loads(row["meta"] or "{}"))
    reason, detail = fate or ("no_text", "'text' is null")
    return Drop(record.id, reason, detail, record.as_row())


def json_lines(table: pa.Table) -> Iterator[bytes]:
    """Rows as lines of JSON."""
    for row in table.to_pylist():
        yield (to_json({"id": row["id"], "text": row["text"], "meta": orjson.loads(row["meta"] or "{}")}) + "\n").encode()
