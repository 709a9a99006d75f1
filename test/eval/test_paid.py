"""Answers that are paid for: a kill in the midst of them costs those under way, and no others."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from src.core.files import read_jsonl, write_jsonl
from src.eval import eval as evaluate

from .conftest import manifest
from .test_models import OUT, said, server  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-c", "import sys; from src.eval import eval; eval(eval.load(sys.argv[1]))"]
ROWS, CONCURRENCY = 500, 8


@pytest.fixture
def paid(project, server):  # noqa: F811
    """A project of 500 rows, each asked of an API alone, and how often each was paid for."""
    counts, lock = Counter(), threading.Lock()

    def pays(body, number):
        with lock:
            counts[body["messages"][-1]["content"]] += 1
        time.sleep(0.02)
        return said(f"So much for {body['messages'][-1]['content']}")

    server.answers = pays
    build = Path("data/lamp/build")
    talk = [
        [{"role": "user", "content": f"Tell me of day {number}."}, {"role": "assistant", "content": "I reckon the fog came in."}]
        for number in range(ROWS)
    ]
    write_jsonl(build / "test.jsonl", ({"id": f"talk:{n}", "messages": each, "tools": [], "sources": []} for n, each in enumerate(talk)))
    manifest(build, "build", {"persona": {"author": "keeper"}})
    backend = f"{{type: openai, model: m, base_url: '{server.url}', timeout: 30}}"
    models = f"[{{type: api, name: big, backend: {backend}, concurrency: {CONCURRENCY}}}]"
    return counts, project(f"{{models: {models}, metrics: [{{type: exact}}], limit: null, max_new_tokens: 8}}")


def test_killed_in_the_midst_of_500_it_pays_only_for_the_rest(paid):
    counts, file = paid
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.Popen([*COMMAND, str(file)], env=environment, stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while counts.total() < 200 and first.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    _, said_to_user = first.communicate()
    assert 200 <= counts.total() < 400, said_to_user
    made = evaluate(evaluate.load(file))
    assert made.counts["kept"] == ROWS
    assert len(counts) == ROWS
    assert counts.total() - ROWS <= CONCURRENCY  # those under way when it was killed
    assert len({row["text"] for row in read_jsonl(OUT / "predictions/big.jsonl")}) == ROWS
