import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from src.text.csv_rows import read_csv
from src.text.json_rows import read_json
from src.text.jsonl import Fault, read_lines
from src.text.opened import TruncatedError, kind, opened

ROWS = [{"text": f"row {number} of some words", "n": str(number)} for number in range(20_000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = ("text,n\n" + "".join(f"{row['text']},{row['n']}\n" for row in ROWS)).encode()
PACK = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor(write_checksum=True).compress}
FORMATS = [(".jsonl", LINES, read_lines), (".json", json.dumps(ROWS).encode(), read_json), (".csv", CSV, read_csv)]


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize(("suffix", "data", "read"), FORMATS)
def test_compressed_tables_hold_the_same_rows(suffix, data, read, packed):
    path = Path(f"a{suffix}{packed}")
    path.write_bytes(PACK[packed](data))
    assert [row for _, row in read(path)] == ROWS
    assert kind(path) == suffix


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize(("suffix", "data", "read"), FORMATS)
@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_a_truncated_file_keeps_the_rows_before_the_break(suffix, data, read, packed, cut):
    path = Path(f"a{suffix}{packed}")
    whole = PACK[packed](data)
    path.write_bytes(whole[: int(len(whole) * cut)])
    *rows, fault = read(path)
    assert isinstance(fault, Fault)
    assert fault.reason == "truncated"
    assert [row for _, row in rows] == ROWS[: len(rows)]
    # a block of zstd is 128 KiB of text or more, and comes whole or not at all
    assert len(rows) > len(ROWS) * cut - (400 if packed == ".gz" else 6000)


@pytest.mark.parametrize("packed", PACK)
def test_damage_inside_and_behind(packed):
    path = Path(f"a.jsonl{packed}")
    whole = PACK[packed](LINES)
    path.write_bytes(whole[:5000] + b"\0\0\0\0\0\0\0\0" + whole[5008:])
    *rows, fault = read_lines(path)
    assert isinstance(fault, Fault)
    path.write_bytes(whole + whole)
    assert sum(1 for _ in read_lines(path)) == 2 * len(ROWS)
    path.write_bytes(whole + b"garbage")
    *rows, fault = read_lines(path)
    assert (len(rows), fault.reason) == (len(ROWS), "truncated")
    path.write_bytes(b"no such thing at all")
    assert [fault.reason for fault in read_lines(path)] == ["truncated"]


def test_the_last_byte_missing_is_noticed():
    for packed, pack in PACK.items():
        path = Path(f"a.jsonl{packed}")
        path.write_bytes(pack(b'{"text": "one"}\n')[:-1])
        with pytest.raises(TruncatedError), opened(path) as stream:
            stream.read()


def test_a_bomb_takes_no_memory():
    line = b'{"text": "' + b"x" * (300 << 20) + b'"}\n'
    Path("bomb.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(line + b'{"text": "after"}\n'))
    with gzip.open("bomb.jsonl.gz", "wb", compresslevel=1) as stream:
        stream.write(line[: 50 << 20] + b'"}\n{"text": "after"}\n')
    del line
    for name in ("bomb.jsonl.zst", "bomb.jsonl.gz"):
        tracemalloc.start()
        found = list(read_lines(Path(name), max_line=1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 20e6
        tracemalloc.stop()
        assert [each.reason if isinstance(each, Fault) else each[1]["text"] for each in found] == ["line_too_long", "after"]


def test_wide_encodings_inside():
    path = Path("a.jsonl.gz")
    path.write_bytes(gzip.compress('{"text": "Café"}\n'.encode("utf-16")))
    assert [row for _, row in read_lines(path)] == [{"text": "Café"}]
    assert isinstance(opened(path), io.BufferedReader)


def test_other_errors_pass():
    Path("folder.gz").mkdir()
    with pytest.raises(IsADirectoryError):
        opened(Path("folder.gz"))
