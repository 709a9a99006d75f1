"""Tables between stages: records as Parquet, read and written a row group at a time."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from src.core.errors import MlxError
from src.core.files import atomic, to_json
from src.core.records import Record

RECORDS = "records.parquet"
SCHEMA = pa.schema([("id", pa.large_string()), ("text", pa.large_string()), ("meta", pa.large_string())])
_ROWS = 5000
_CHARACTERS = 16 << 20  # of text in a row group: what a reader holds at a time


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as Parquet (id, text, meta as JSON) in bounded memory; return how many."""
    count = 0
    with atomic(path, "wb") as stream, pq.ParquetWriter(stream, SCHEMA, compression="zstd", write_statistics=False) as writer:
        for group in _groups(records):
            writer.write_table(pa.table(dict(zip(SCHEMA.names, group, strict=True)), schema=SCHEMA), row_group_size=len(group[0]))
            count += len(group[0])
    return count


def _groups(records: Iterable[Record]) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Yield the columns of each row group."""
    ids, texts, metas, size = [], [], [], 0
    for record in records:
        ids.append(record.id)
        texts.append(record.text)
        metas.append(to_json(record.meta))
        size += len(record.text) + len(metas[-1])
        if len(ids) == _ROWS or size >= _CHARACTERS:
            yield ids, texts, metas
            ids, texts, metas, size = [], [], [], 0
    if ids:
        yield ids, texts, metas


def read_records(path: Path) -> Iterator[Record]:
    """Read records in their order from a stage's folder or a Parquet file, in bounded memory."""
    for batch in record_batches(path):
        yield from batch


def record_batches(path: Path, *, size: int = 1000) -> Iterator[list[Record]]:
    """Read records in lists of at most `size`, in their order; a row group is decoded at a time."""
    for batch in arrow_batches(path, size=size):
        columns = [batch.column(name).to_pylist() for name in SCHEMA.names]
        yield [Record(name, text, json.loads(meta)) for name, text, meta in zip(*columns, strict=True)]


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
