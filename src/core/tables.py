"""Tables between stages: records as Parquet."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from src.core.errors import MlxError
from src.core.files import atomic, to_json
from src.core.records import Record

RECORDS = "records.parquet"
_BATCH = 5000
SCHEMA = {"id": pl.String, "text": pl.String, "meta": pl.String}


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as Parquet (id, text, meta as JSON); return how many."""
    rows = ((record.id, record.text, to_json(record.meta)) for record in records)
    frames = [pl.DataFrame(schema=SCHEMA)]
    while batch := list(islice(rows, _BATCH)):  # Python's strings are several times the size of a frame's
        frames.append(pl.DataFrame(batch, schema=SCHEMA, orient="row"))
    table = pl.concat(frames, rechunk=True)
    with atomic(path, "wb") as stream:
        table.write_parquet(stream, compression="zstd", statistics=False)
    return table.height


def read_records(path: Path) -> Iterator[Record]:
    """Read records in their order from a stage's folder or a Parquet file."""
    file = path / RECORDS if path.is_dir() else path
    try:
        table = pl.read_parquet(file, columns=list(SCHEMA))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MlxError(f"{file}: is no table of records (id, text, meta): {error}", "make it with `mlx scrape`") from None
    for name, text, meta in table.iter_rows():
        yield Record(name, text, json.loads(meta))


def count_records(path: Path) -> int:
    """How many records there are, read from the file's footer."""
    return int(pl.scan_parquet(path / RECORDS if path.is_dir() else path).select(pl.len()).collect().item())
