"""The rows of a part: read strictly, whatever is no document named with its reason."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from src.core.ledger import Drop
from src.core.records import Record
from src.core.tables import open_records
from src.dedup.parts import Part
from src.text.kernels import SLACK

_BATCH = 4 << 20  # bytes of text sketched at a time
_ROWS = 2000
_SHOWN = 200
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Batch:
    """Texts one after another."""

    text: NDArray[np.uint8]
    """Their UTF-8, and some bytes more."""
    bounds: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Number of each in the part: the line, or the row of the table."""
    read: int
    """Lines, or rows, of the part up to here."""
    ids: list[str] | None
    """None where the line is the name."""
    scores: list[float] | None


def data_of(part: Part) -> bytes:
    """The bytes of a part of a JSON Lines file."""
    with Path(part.file).open("rb") as stream:
        stream.seek(part.start)
        return stream.read(part.end - part.start)


def lines(part: Part) -> list[bytes]:
    """The lines of a part of a JSON Lines file, without their ends."""
    found = data_of(part).split(b"\n")
    if found and not found[-1]:
        found.pop()
    return found


def batches(part: Part, column: str, score: str | None) -> Iterator[Batch]:
    """Read the documents of a part; rows that are none are passed over."""
    return _line_batches(part, column, score) if part.kind == "jsonl" else _table_batches(part, score)


def _line_batches(part: Part, column: str, score: str | None) -> Iterator[Batch]:
    texts, rows, scores, size = [], [], [], 0
    found = lines(part)
    for number, line in enumerate(found):
        row = parse(line, column)
        if isinstance(row, tuple):
            continue
        data = row[column].encode()
        texts.append(data)
        rows.append(number)
        size += len(data)
        if score:
            meta = row.get("meta")
            scores.append(number_of(row.get(score, meta.get(score) if isinstance(meta, dict) else None)))
        if size >= _BATCH:
            yield _batch(texts, rows, number + 1, None, scores if score else None)
            texts, rows, scores, size = [], [], [], 0
    yield _batch(texts, rows, len(found), None, scores if score else None)


def strict(line: bytes) -> Any:
    """What a line holds; a byte order mark is passed over."""
    return orjson.loads(line.removeprefix(_MARK))


def parse(line: bytes, column: str) -> dict[str, Any] | tuple[str, str]:
    """A line's object with its text, or the reason and detail for which it is none; what orjson rejects is rejected."""
    try:
        row = strict(line)
    except orjson.JSONDecodeError as error:
        return ("bad_json", f"column {error.pos + 1}: {error.msg}") if line.strip() else ("", "")
    if not isinstance(row, dict):
        return "not_object", f"a {type(row).__name__}, not an object"
    if not isinstance(row.get(column), str):
        return "no_text", f"{column!r} is {'not there' if column not in row else 'no text'}"
    return row


def number_of(value: Any) -> float:
    """A score as a number; what is none ranks last."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return -np.inf
    return -np.inf if found != found else found


def _batch(texts: list[bytes], rows: list[int], read: int, ids: list[str] | None, scores: list[float] | None) -> Batch:
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    text = np.frombuffer(b"".join([*texts, bytes(SLACK)]), np.uint8)
    return Batch(text, bounds, np.array(rows, np.int64), read, ids, scores)


def tables(part: Part, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a part of a table, some thousand at a time."""
    with open_records(Path(part.file)) as table:
        groups = list(range(part.start, part.end))
        yield from table.iter_batches(_ROWS, row_groups=groups, columns=columns, use_threads=False)


def _table_batches(part: Part, score: str | None) -> Iterator[Batch]:
    start = 0
    yield _batch([], [], 0, [], [] if score else None)  # so that there is one
    for table in tables(part, ["id", "text", "meta"] if score else ["id", "text"]):
        valid = table.column("text").is_valid()
        rows = start + np.flatnonzero(valid.to_numpy(zero_copy_only=False))
        start += table.num_rows
        table = table.filter(valid)
        scores = [number_of(orjson.loads(meta or "{}").get(score)) for meta in table.column("meta").to_pylist()] if score else None
        text, bounds = _buffers(table.column("text"))
        yield Batch(text, bounds, rows, start, [str(name or "") for name in table.column("id").to_pylist()], scores)


def _buffers(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes and bounds of a column of texts, without a copy where it has room behind."""
    column = column if pa.types.is_large_string(column.type) else column.cast(pa.large_string())
    _, bounds, data = column.buffers()
    edges = np.frombuffer(bounds, np.int64)[column.offset : column.offset + len(column) + 1] if bounds else np.zeros(1, np.int64)
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    if text.size < edges[-1] + SLACK:
        text = np.concatenate([text[: edges[-1]], np.zeros(SLACK, np.uint8)])
    return text, edges


def record_of(row: dict[str, Any], name: str, column: str) -> Record:
    """A line's object as a record: what it holds besides its text is meta."""
    meta = {key: value for key, value in row.items() if key != column}
    if isinstance(inner := meta.get("meta"), dict):
        del meta["meta"]
        meta |= inner
    return Record(name, row[column], {"source": name} | meta)


def drop_of(line: bytes, name: str, why: tuple[str, str]) -> Drop:
    """The ledger's row for a line that is no document."""
    return Drop(name, *why, {"start": line[:_SHOWN].decode("utf-8", "replace")})
