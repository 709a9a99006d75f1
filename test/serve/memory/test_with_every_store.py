"""Memory over each store of this machine that is installed: the same answers, damage and kills made up for."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.serve.memory import Memory

NEEDS = {"numpy": None, "faiss": "faiss", "chroma": "chromadb", "qdrant": "qdrant_edge"}
ROOT = Path(__file__).parents[3]
RELOADS = """
import json, sys
from src.serve.memory import Memory, bank
bank._BATCH = 8
settings = json.loads(sys.argv[1])
add = bank.Embedded.texts
batches = []
def told(self, texts):
    found = add(self, texts)
    batches.append(texts)
    print(len(batches), flush=True)
    return found
bank.Embedded.texts = told
Memory.model_validate(settings).open("test")
"""


@pytest.fixture(params=NEEDS)
def settings(request):
    if NEEDS[request.param] and importlib.util.find_spec(NEEDS[request.param]) is None:
        pytest.skip(f"needs uv sync --extra {request.param}")
    folder = Path("memory_bank")
    folder.mkdir()
    for topic in ("lamp", "kettle", "boiler", "fridge", "radio"):
        text = "\n".join(f"# {topic} {number}\nThe {topic} of room {number} has {number * 7} watts.\n" for number in range(20))
        (folder / f"{topic}.md").write_text(text)
    return {"store": {"type": request.param}, "embedder": {"type": "hashing", "dimension": 256}}


def opened(settings):
    return Memory.model_validate(settings).open("test")


def answers(bank):
    return [
        [(each.chunk.source, each.score) for each in bank.search(question, 7)] for question in ("kettle of room 7", "watts", "radio 19")
    ]


@pytest.fixture
def exact(settings):
    bank = opened(settings | {"store": {"type": "numpy"}, "index": "exact"})
    yield answers(bank)
    bank.close()


def test_every_store_gives_the_same_answers(settings, exact):
    bank = opened(settings)
    assert answers(bank) == exact
    bank.close()


def test_damaged_files_of_a_store_are_made_again(settings, exact):
    opened(settings).close()
    for file in Path("data/test/memory").glob("*-hashing-256/**/*"):
        if file.is_file():
            file.write_bytes(b"not what it was" * 300)
    bank = opened(settings)
    assert answers(bank) == exact
    assert len(bank.store.ids()) == 100
    bank.close()


def test_a_kill_while_it_fills_costs_nothing_but_the_rest(settings, exact, tmp_path):
    script = tmp_path / "reloads.py"
    script.write_text(RELOADS)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    filling = subprocess.Popen([sys.executable, str(script), json.dumps(settings)], stdout=subprocess.PIPE, text=True, env=environment)
    for line in filling.stdout:
        if int(line) == 5:
            filling.kill()
            break
    filling.wait()
    filling.stdout.close()
    bank = opened(settings)
    assert 0 < bank.changes.added <= 100 - 4 * 8
    assert answers(bank) == exact
    bank.close()
