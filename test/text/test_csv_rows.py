"""CSV of others: what is cut off is told, what only looks so is not."""

import pytest

from src.text.csv_rows import read_csv
from src.text.jsonl import Fault


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_last_row_may_lack_its_line_end(tmp_path, end):
    file = tmp_path / "rows.csv"
    file.write_bytes(('id,label\n1,"up,\nand up"\n2,"down"' + end).encode())
    assert list(read_csv(file)) == [(2, {"id": "1", "label": "up,\nand up"}), (4, {"id": "2", "label": "down"})]


def test_a_file_cut_inside_a_quoted_cell_is_told(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text('id,label\n1,up\n2,"dow')
    assert list(read_csv(file)) == [(2, {"id": "1", "label": "up"}), Fault(3, "truncated", "the file ends inside a quoted cell", "2 | dow")]
