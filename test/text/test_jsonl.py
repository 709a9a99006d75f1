import codecs
import tracemalloc
from pathlib import Path

import pytest

from src.text.jsonl import Fault, read_lines


def test_rows_and_faults_come_in_order_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"text": "a"}\r\n\n{"text": \n[1]\n{"x": NaN}\n{"text": "caf\xe9"}')
    assert list(read_lines(file)) == [
        (1, {"text": "a"}),
        Fault(3, "bad_json", "column 9: Expecting value", '{"text":'),
        Fault(4, "not_object", "a list, not an object", "[1]"),
        (5, {"x": None}),
        (6, {"text": "café"}),
    ]


@pytest.mark.parametrize(("mark", "encoding"), [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")])
def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path, mark: bytes, encoding: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(mark + '{"text": "é"}\n{"text": "b"}\n'.encode(encoding))
    assert list(read_lines(file)) == [(1, {"text": "é"}), (2, {"text": "b"})]


def test_bytes_after_a_utf_8_mark_that_are_none_still_give_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(codecs.BOM_UTF8 + b'{"text": "caf\xe9"}\n')
    assert list(read_lines(file)) == [(1, {"text": "café"})]


def test_a_broken_utf_16_file_is_one_fault(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(codecs.BOM_UTF16_LE + b"{")
    (fault,) = read_lines(file)
    assert isinstance(fault, Fault)
    assert fault.reason == "undecodable"


def test_a_row_nested_too_deep_or_a_number_too_long_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a":' + "[" * 100_000 + "\n" + '{"a":' + "1" * 5000 + "}\n")
    assert [each.reason for each in read_lines(file) if isinstance(each, Fault)] == ["bad_json", "bad_json"]


def test_a_huge_line_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with file.open("wb") as stream:
        stream.write(b'{"text": "first"}\n{"text": "')
        for _ in range(50):
            stream.write(b"x" * (1 << 20))
        stream.write(b'"}\n{"text": "last"}\n')
    tracemalloc.start()
    rows = list(read_lines(file, max_line=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [(1, {"text": "first"}), Fault(2, "line_too_long", "over 1,048,576 bytes"), (3, {"text": "last"})]
    assert peak < 6 << 20


def test_a_line_exactly_at_the_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "abc"}\n')
    assert list(read_lines(file, max_line=15)) == [(1, {"text": "abc"})]
    assert [type(each) for each in read_lines(file, max_line=14)] == [Fault]
