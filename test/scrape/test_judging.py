import json
import multiprocessing
import os
from pathlib import Path

import pytest

from src.core.engine import DaskEngine, LocalEngine
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.packed import unpack
from src.core.records import Record
from src.scrape import judging as module
from src.scrape.judge import Judge
from src.scrape.judging import judging


def items(count: int) -> list:
    return [
        Drop(f"d{number}", "empty") if number % 50 == 7 else Record(f"r{number}", f"text {number} " * (number % 3))
        for number in range(count)
    ]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_order_and_the_rows_are_the_same(threads):
    rule = Judge(min_words=1)
    rows = items(9000)
    with judging(rule, LocalEngine(threads=threads)) as judged:
        assert list(map(unpack, judged(rows))) == list(rule.judged(rows))
        assert list(map(unpack, judged(rows[:5000]))) == list(rule.judged(rows[:5000]))
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("SpawnProcess")]


def test_few_rows_start_no_processes(monkeypatch):
    monkeypatch.setattr(module, "_processes", None)
    with judging(Judge(), LocalEngine(threads=8)) as judged:
        assert len(list(judged(items(100)))) == 100


class Deadly(Judge):
    def judge(self, record):
        os._exit(9)


def test_a_process_that_ends_is_an_error_to_mend():
    with pytest.raises(MlxError, match="has ended") as error, judging(Deadly(), LocalEngine(threads=2)) as judged:
        list(judged(items(5000)))
    assert "threads=1" in error.value.hint


def test_a_cluster_gives_the_same(monkeypatch):
    class Cluster:
        def map(self, function, tasks):
            return [function(*task) for task in tasks]

    class Here:
        def __enter__(self):
            return Cluster()

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(DaskEngine, "open", lambda _: Here())
    rows = items(5000)
    with judging(Judge(), DaskEngine(workers=2)) as judged:
        assert list(map(unpack, judged(rows))) == list(Judge().judged(rows))


def test_the_stage_gives_the_same_bytes_with_any_number_of_processes(project):
    Path("rows.jsonl").write_text("".join(json.dumps({"text": f"Row {number} of some plain words."}) + "\n" for number in range(4500)))
    outputs = []
    for threads in (1, 2):
        outputs.append(project({"type": "files", "path": "rows.jsonl"}, engine={"threads": threads, "type": "local"}).manifest.outputs)
        Path("data/t/scrape/manifest.json").unlink()
    assert outputs[0] == outputs[1]
