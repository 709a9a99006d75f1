"""Tables between stages: records as Parquet, read and written a row group at a time."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from src.core.errors import MlxError
from src.core.files import atomic, to_json
from src.core.records import Record

RECORDS = "records.parquet"
SCHEMA = pa.schema([("id", pa.large_string()), ("text", pa.large_string()), ("meta", pa.large_string())])
_ROWS = 5000
_BYTES = 16 << 20  # of text in a row group: what a reader holds at a time
_BATCH = 1000


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as Parquet (id, text, meta as JSON) in bounded memory; return how many."""
    rows = iter(records)
    with atomic(path, "wb") as stream, RecordWriter(stream) as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write(record_table(batch))
    return writer.count


def record_table(records: Sequence[Record]) -> pa.Table:
    """Records as a table of id, text and meta."""
    columns = [[each.id for each in records], [each.text for each in records], [to_json(each.meta) for each in records]]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


class RecordWriter:
    """Writes tables of records to a Parquet file; where its row groups end hangs on the rows alone, not on the tables."""

    def __init__(self, stream: IO[bytes]) -> None:
        # texts are seldom the same: a dictionary of them would cost memory and time
        options = {"compression": "zstd", "compression_level": 1, "use_dictionary": ["meta"], "write_statistics": False}
        self._writer = pq.ParquetWriter(stream, SCHEMA, **options)
        self._waiting: list[pa.Table] = []
        self._rows = self._size = 0
        self.count = 0

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self.count += table.num_rows
        while table.num_rows:
            sizes = np.cumsum(pc.binary_length(table.column("text")).to_numpy() + pc.binary_length(table.column("meta")).to_numpy())
            taken = min(_ROWS - self._rows, int(np.searchsorted(sizes, _BYTES - self._size)) + 1, table.num_rows)
            self._waiting.append(table.slice(0, taken))
            self._rows += taken
            self._size += int(sizes[taken - 1])
            if self._rows >= _ROWS or self._size >= _BYTES:
                self._flush()
            table = table.slice(taken)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=self._rows)
        self._waiting, self._rows, self._size = [], 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def read_records(path: Path) -> Iterator[Record]:
    """Read records in their order from a stage's folder or a Parquet file, in bounded memory."""
    for batch in record_batches(path):
        yield from batch


def record_batches(path: Path, *, size: int = 1000) -> Iterator[list[Record]]:
    """Read records in lists of at most `size`, in their order; a row group is decoded at a time."""
    before = 0
    for batch in arrow_batches(path, size=size):
        rows = list(zip(*(batch.column(name).to_pylist() for name in SCHEMA.names), strict=True))
        try:
            records = [Record(name, text, json.loads(meta)) for name, text, meta in rows]
        except (TypeError, ValueError):
            records = []
        if len(records) < len(rows) or not all(type(each.id) is type(each.text) is str and type(each.meta) is dict for each in records):
            raise _no_record(table_file(path), rows, before)
        yield records
        before += len(rows)


def arrow_batches(path: Path, *, size: int = 1000) -> Iterator[pa.RecordBatch]:
    """Read the columns id, text, meta as Arrow batches of at most `size` rows."""
    with open_records(path) as table:
        try:
            yield from table.iter_batches(size, columns=SCHEMA.names, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise _no_table(table_file(path), error) from None


def open_records(path: Path) -> pq.ParquetFile:
    """Open a table of records for reading by row group; fails where it is none."""
    file = table_file(path)
    try:
        table = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise _no_table(file, error) from None
    if missing := [name for name in SCHEMA.names if name not in table.schema_arrow.names]:
        table.close()
        raise _no_table(file, f"it has no column {missing[0]!r}")
    return table


def table_file(path: Path) -> Path:
    """The Parquet file that a stage's folder, or the path itself, stands for."""
    return path / RECORDS if path.is_dir() else path


def count_records(path: Path) -> int:
    """How many records there are, read from the file's footer."""
    with open_records(path) as table:
        return int(table.metadata.num_rows)


def _no_table(file: Path, error: object) -> MlxError:
    return MlxError(f"{file}: is no table of records (id, text, meta): {error}", "make it with `mlx scrape`")


def _no_record(file: Path, rows: Sequence[tuple[object, ...]], before: int) -> MlxError:
    """The error that names the first row that is no record."""
    for number, row in enumerate(rows, before + 1):
        for name, value in zip(SCHEMA.names, row, strict=True):
            if not isinstance(value, str):
                fault = "is null" if value is None else f"is a {type(value).__name__}, not text"
                return _not_read(f"{file}: row {number}: {name!r} {fault}")
        try:
            meta = json.loads(str(row[-1]))
        except ValueError as error:
            return _not_read(f"{file}: row {number}: 'meta' is no JSON: {error}")
        if not isinstance(meta, dict):
            return _not_read(f"{file}: row {number}: 'meta' is a {type(meta).__name__}, not an object")
    return _not_read(f"{file}: behind row {before}: cannot be read")


def _not_read(fault: str) -> MlxError:
    return MlxError(fault, "give the file to scrape.source, which sets bad rows aside and goes on")
