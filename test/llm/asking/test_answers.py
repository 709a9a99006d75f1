import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.llm.asking.answers import Answers
from src.llm.client import Reply, Usage

ROOT = Path(__file__).parents[3]
FILE = Path("cache/answers.sqlite")


def test_an_answer_is_there_for_the_next_run():
    reply = Reply("positive é", Usage(12, 3), "length")
    with Answers(FILE) as answers:
        assert answers.get("k") is None
        answers.put("k", "m", reply)
    with Answers(FILE) as answers:
        assert answers.get("k") == reply


def test_what_utf8_cannot_hold_is_kept_without_it():
    with Answers(FILE) as answers:
        answers.put("k", "m", Reply("a\ud800"))
        assert answers.get("k").text == "a?"


def test_kill_9_loses_no_answer():
    script = (
        "import os, pathlib, sys; from src.llm.asking.answers import Answers; from src.llm.client import Reply\n"
        "answers = Answers(pathlib.Path(sys.argv[1])); answers.put('k', 'm', Reply('kept')); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(FILE.resolve())], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    with Answers(FILE) as answers:
        assert answers.get("k").text == "kept"


def test_after_a_second_answers_outlive_the_power_too(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("src.llm.asking.answers.monotonic", lambda: next(ticks))
    with Answers(FILE) as answers:
        for number in range(3):
            answers.put(str(number), "m", Reply("x"))
        assert FILE.stat().st_size >= 8192


def test_two_runs_and_many_threads_may_share_the_file():
    with Answers(FILE) as one, Answers(FILE) as other:

        def fill(answers, start):
            for number in range(start, start + 20):
                answers.put(str(number), "m", Reply(str(number)))

        threads = [threading.Thread(target=fill, args=(answers, start)) for start, answers in ((0, one), (20, one), (40, other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(one.get(str(number)) == Reply(str(number)) for number in range(60))


def test_a_file_that_is_none_of_ours():
    FILE.parent.mkdir()
    FILE.write_text("this is no database, however long one looks at it " * 50)
    with pytest.raises(MlxError, match="cannot be read") as found:
        Answers(FILE)
    assert "move cache/answers.sqlite away" in found.value.hint


def test_a_full_disk_is_an_error_that_says_so():
    with Answers(FILE) as answers:
        answers._base.execute("pragma max_page_count = 1")
        with pytest.raises(MlxError, match="cannot keep an answer") as found:
            answers.put("k", "m", Reply("x" * 100_000))
        assert "make room" in found.value.hint
