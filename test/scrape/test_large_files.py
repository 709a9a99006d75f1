"""A large file is done in parts: a kill costs one of them, and what comes out is the same."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.core import run as module
from src.core.files import sha256
from src.core.records import Record
from src.scrape.judge import Judge
from src.scrape.unique import unique

ROOT = Path(__file__).parents[2]
ROWS = 45_000


def large(name: str, rows: int) -> None:
    with Path(name).open("w") as stream:
        if name.endswith(".csv"):
            stream.write("text,n\n")
        for number in range(rows):
            text = f"Row {number} of some plain words that say little."
            stream.write(f'"{text}",{number}\n' if name.endswith(".csv") else json.dumps({"text": text, "n": number}) + "\n")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_parts_that_are_done_are_not_judged_again(project, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Run.piece, "__kwdefaults__", {"rows": 1000})
    large(name, 3500)
    engine = {"type": "local", "threads": 1}
    whole = project({"type": "files", "path": name}, engine=engine).manifest.outputs
    Path("data/t/scrape/manifest.json").unlink()
    judged: list[str] = []
    judge = Judge.judge

    def breaks(self: Judge, record: Record):
        judged.append(record.id)
        if len(judged) == 2500:
            raise RuntimeError("broke")
        return judge(self, record)

    monkeypatch.setattr(Judge, "judge", breaks)
    with pytest.raises(RuntimeError):
        project({"type": "files", "path": name}, engine=engine)
    assert project({"type": "files", "path": name}, engine=engine).manifest.outputs == whole
    assert len(judged) == 2500 + 3500 - 2000  # the third part alone was begun anew


def test_a_part_that_ends_with_the_file_is_the_last(project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Run.piece, "__kwdefaults__", {"rows": 1000})
    large("rows.jsonl", 2000)
    assert len(project({"type": "files", "path": "rows.jsonl"}).records) == 2000


@pytest.mark.slow
def test_kill_9_in_a_large_file_costs_a_part_of_it() -> None:
    large("rows.jsonl", ROWS)
    Path("t.yaml").write_text(json.dumps({"name": "t", "scrape": {"sources": [{"type": "files", "path": "rows.jsonl"}]}}))
    command = [sys.executable, "-m", "src", "scrape", "t.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for parts in (1, 2):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while len(done := list(Path("data").glob("t/scrape/.work/*/*-20000-*.jsonl"))) < parts and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        times = {path: path.stat().st_mtime_ns for path in done}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not Path("data/t/scrape/manifest.json").exists() and process.poll() is None:
        kept = {path: path.stat().st_mtime_ns for path in times if path.exists()}
        assert all(times[path] == moment for path, moment in kept.items())  # nothing done is done again
        time.sleep(0.02)
    assert process.wait() == 0
    counts = json.loads(Path("data/t/scrape/manifest.json").read_text())["counts"]
    assert counts["kept"] == counts["read"] == ROWS
    first = sha256(Path("data/t/scrape/records.parquet"))
    subprocess.run([*command, "--force"], env=environment, check=True, stderr=subprocess.DEVNULL)
    assert sha256(Path("data/t/scrape/records.parquet")) == first


def test_ids_are_let_through_once_though_they_lie_on_disk(tmp_path: Path) -> None:
    names = ["a", "b", "a", "\ud800", "é", "\ud800", "A", "b"]
    (tmp_path / "ids.sqlite").write_bytes(b"left by a kill")
    found = list(unique((Record(name, "text") for name in names), tmp_path))
    assert [isinstance(each, Record) for each in found] == [True, True, False, True, True, False, True, False]
    assert {each.reason for each in found if not isinstance(each, Record)} == {"duplicate_id"}
    assert not list(tmp_path.iterdir())
