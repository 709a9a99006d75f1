"""Inputs and corrections that are damaged, and a disk that is full: one clear error each, and a row of it where there is one."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from src.core.errors import MlxError
from src.core.records import Record
from src.core.tables import write_records
from src.label import label

ROOT = Path(__file__).parents[2]
SECTION = {"input": "in.parquet", "classes": ["good", "bad"], "backend": {"type": "scripted", "default": "good"}}
GOOD = {"id": ["a", "b"], "text": ["good", "bad"], "meta": ["{}", "{}"]}


def run(**settings):
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "label": SECTION | settings}))
    return label(label.load("p.yaml"))


@pytest.mark.parametrize(
    ("column", "values", "fault"),
    [
        ("id", ["a", None], "row 2: 'id' is null"),
        ("id", [1, 2], "row 1: 'id' is a int, not text"),
        ("text", ["good", None], "row 2: 'text' is null"),
        ("text", [b"good", b"\xff"], "row 1: 'text' is a bytes, not text"),
        ("meta", ["{}", None], "row 2: 'meta' is null"),
        ("meta", ["{}", '{"a'], "row 2: 'meta' is no JSON: Unterminated"),
        ("meta", ["{}", "[1]"], "row 2: 'meta' is a list, not an object"),
        ("meta", [{"a": 1}, {"a": 2}], "row 1: 'meta' is a dict, not text"),
    ],
)
def test_a_table_of_others_is_refused_at_its_first_row_that_is_no_record(column, values, fault):
    pq.write_table(pa.table(GOOD | {column: values}), "in.parquet")
    with pytest.raises(MlxError) as error:
        run()
    assert f"in.parquet: {fault}" in str(error.value)
    assert "scrape.source" in error.value.hint
    assert not Path("data/p/label/manifest.json").exists()


def test_the_row_is_counted_from_the_beginning_of_the_file():
    pq.write_table(pa.table({"id": ["a"] * 2500, "text": ["x"] * 2499 + [None], "meta": ["{}"] * 2500}), "in.parquet")
    with pytest.raises(MlxError, match="row 2500: 'text' is null"):
        run()


def cut(data):
    return data[: len(data) // 2]


def flipped(data):
    found = bytearray(data)
    for place in range(1000, len(data) // 2, 997):
        found[place] ^= 255
    return bytes(found)


@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda _: b"PAR1" * 100, lambda _: b'{"id": "a", "text": "x"}\n'])
def test_a_file_that_is_no_table_is_one_error(damage):
    dice = random.Random(1)
    write_records(Path("in.parquet"), [Record(str(number), dice.randbytes(40).hex()) for number in range(5000)])
    Path("in.parquet").write_bytes(damage(Path("in.parquet").read_bytes()))
    with pytest.raises(MlxError, match=r"in\.parquet: is no table of records"):
        run()


def test_json_lines_are_refused_by_name():
    Path("in.jsonl").write_text('{"id": "a", "text": "x"}\n')
    with pytest.raises(MlxError, match=r"in\.jsonl: is no table of records"):
        run(input="in.jsonl")


@pytest.mark.parametrize(
    ("corrections", "fault"),
    [
        (b"", "holds no row"),
        (b"\xff\xfei\x00d\x00", "holds no row"),
        (b"name,label\na,good\n", "has no columns `id` and `label`"),
        (b"id,text,label\na,good,nonsense\n", "row 1: 'nonsense' is no answer"),
        (b"id,text,label\na,good,\x00good\n", "row 1: .* is no answer"),
        (b"id,text,label\na,x,good\na,x,bad\n", "row 2: a has two labels"),
        (random.Random(2).randbytes(3000), "c.csv: "),
    ],
)
def test_damaged_corrections_are_one_error(corrections, fault):
    pq.write_table(pa.table(GOOD), "in.parquet")
    Path("c.csv").write_bytes(corrections)
    with pytest.raises(MlxError, match=fault) as error:
        run(corrections="c.csv")
    assert "c.csv" in str(error.value)
    assert not Path("data/p/label/manifest.json").exists()


def test_corrections_are_not_run_over_where_they_lie():
    pq.write_table(pa.table(GOOD), "in.parquet")
    run()
    unsure = Path("data/p/label/unsure.csv")
    unsure.write_text("id,label\n1,up\n")
    with pytest.raises(MlxError, match=r"data/p/label/unsure\.csv would be lost: label writes its folder anew"):
        run(corrections=unsure.as_posix())
    assert unsure.read_text() == "id,label\n1,up\n"


@pytest.fixture
def small_disk():
    """A disk of 2 MB where the output goes."""
    Path("data").mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", "data"], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield
    subprocess.run(["umount", "-l", "data"], check=True)


def test_a_full_disk_is_one_error_and_with_room_the_same_command_ends(small_disk):
    dice = random.Random(3)
    write_records(Path("in.parquet"), [Record(str(number), dice.randbytes(2000).hex()) for number in range(2500)])
    Path("p.yaml").write_text(json.dumps({"name": "p", "label": SECTION}))

    def mlx():
        command = [sys.executable, "-m", "src", "label", "p.yaml"]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    done = mlx()
    assert done.returncode == 2
    assert "error: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,size=64m", "data"], check=True)
    done = mlx()
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("data/p/label/manifest.json").read_text())["counts"]["kept"] == 2500
