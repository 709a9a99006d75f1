import tracemalloc
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from src.core import tables
from src.core.errors import MlxError
from src.core.records import Record
from src.core.tables import count_records, read_records, record_batches, write_records

FILE = Path("records.parquet")


def some(count, text="text"):
    return (Record(f"r{number}", text, {"n": number, "ü": None}) for number in range(count))


def test_what_is_written_is_read_in_order_and_in_batches():
    assert write_records(FILE, some(12_345)) == count_records(FILE) == 12_345
    assert list(read_records(Path())) == list(some(12_345))
    assert [len(batch) for batch in record_batches(FILE, size=5000)] == [5000, 5000, 2345]
    assert pq.ParquetFile(FILE).num_row_groups == 3


def test_nothing_is_a_table_too():
    assert write_records(FILE, []) == count_records(FILE) == 0
    assert list(read_records(FILE)) == []


def test_long_texts_make_small_row_groups(monkeypatch):
    monkeypatch.setattr(tables, "_BYTES", 1000)
    write_records(FILE, some(10, "x" * 400))
    assert pq.ParquetFile(FILE).num_row_groups == 4


def test_row_groups_hang_on_the_rows_alone(monkeypatch):
    monkeypatch.setattr(tables, "_BYTES", 5000)
    monkeypatch.setattr(tables, "_ROWS", 70)
    records = [Record(f"r{number}", "x" * (number * 37 % 400)) for number in range(500)]
    write_records(FILE, records)
    once = FILE.read_bytes()
    monkeypatch.setattr(tables, "_BATCH", 33)
    write_records(FILE, records)
    assert FILE.read_bytes() == once
    assert list(read_records(FILE)) == records


def test_a_table_of_others_is_read_too():
    pl.DataFrame({"meta": ["{}"], "text": ["t"], "id": ["a"], "more": [1]}).write_parquet(FILE)
    assert list(read_records(FILE)) == [Record("a", "t", {})]


def test_memory_stays_that_of_a_row_group():
    text = "some words " * 1000
    tracemalloc.start()
    write_records(FILE, some(10_000, text))
    for _ in read_records(FILE):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6 < 10_000 * len(text)


@pytest.mark.parametrize("content", [b"", b"not parquet"])
def test_what_is_no_table_is_named(content):
    FILE.write_bytes(content)
    with pytest.raises(MlxError, match=r"records\.parquet: is no table"):
        list(read_records(FILE))


def test_a_missing_column_is_named():
    pl.DataFrame({"id": ["a"], "text": ["t"]}).write_parquet(FILE)
    with pytest.raises(MlxError, match="no column 'meta'"):
        count_records(FILE)


def test_a_damaged_table_is_named():
    write_records(FILE, some(50, "words and more words " * 100))
    data = bytearray(FILE.read_bytes())
    data[20:400] = bytes(380)
    FILE.write_bytes(data)
    with pytest.raises(MlxError, match="is no table"):
        list(read_records(FILE))
