"""Kills, damage, servers that are away, secrets."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from src.store import Row, Store
from src.store.arango import NEAREST, NEAREST_INDEXED, Arango
from src.store.chroma import Chroma
from src.store.failure import StoreError
from src.store.faiss import Faiss
from src.store.numpy import Numpy
from src.store.qdrant import Qdrant

from . import stand_ins
from .conftest import installed

ADDS = """
import json, sys
from pathlib import Path
import numpy as np
from pydantic import TypeAdapter
from src.store import Row, Store
store = TypeAdapter(Store).validate_python(json.loads(sys.argv[1]))
vectors = store.open(Path("index"), name="mlx-test", dimension=8)
random = np.random.default_rng(0)
for batch in range(10_000):
    vectors.add([Row(f"{batch}/{number}", random.normal(size=8)) for number in range(20)])
    if batch % 3 == 2:
        vectors.delete([f"{batch - 1}/{number}" for number in range(20)])
    print(batch, flush=True)
"""


def test_a_kill_loses_nothing_that_was_said_to_be_there(local, tmp_path):
    """kill -9 in the midst of adding: all that `add` returned for is there, and the store works on."""
    script = tmp_path / "adds.py"
    script.write_text(ADDS)
    root = Path(__file__).parents[2]
    command = [sys.executable, str(script), json.dumps({"type": local.type})]
    adding = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    )
    for line in adding.stdout:
        if int(line) == 8:
            adding.kill()
            break
    adding.wait()
    adding.stdout.close()
    vectors = local.open(Path("index"), name="mlx-test", dimension=8)
    sure = {f"{batch}/{number}" for batch in (0, 2, 3, 5, 6, 8) for number in range(20)}
    there = vectors.ids()
    assert sure <= there
    assert not {f"{batch}/{number}" for batch in (1, 4, 7) for number in range(20)} & there
    assert {hit.id for hit in vectors.search(np.ones(8), 10_000)} == there
    vectors.add([Row("after", np.ones(8))])
    assert vectors.search(np.ones(8), 1)[0].id == "after"
    vectors.close()


def test_damaged_files_are_a_store_error(local):
    vectors = local.open(Path("index"), name="mlx-test", dimension=8)
    vectors.add([Row(str(number), np.eye(8)[number % 8] + number) for number in range(50)])
    vectors.close()
    for file in (each for each in Path("index").rglob("*") if each.is_file()):
        file.write_bytes(b"not what it was" * 300)
    with pytest.raises(StoreError):
        again = local.open(Path("index"), name="mlx-test", dimension=8)
        again.search(np.ones(8), 3)


@pytest.mark.parametrize("kind", [Numpy, Faiss])
def test_another_dimension_is_refused(kind):
    installed(kind().type)
    kind().open(Path("index"), name="mlx-test", dimension=8).close()
    with pytest.raises(StoreError, match="holds vectors of 8 numbers, not 9"):
        kind().open(Path("index"), name="mlx-test", dimension=9)


@pytest.mark.parametrize(
    "store", [Qdrant(url="http://127.0.0.1:9", timeout=1), Arango(url="http://127.0.0.1:9", password_env=None, timeout=1)]
)
def test_a_server_that_is_away_is_a_store_error(store):
    installed("qdrant server" if store.type == "qdrant" else "arango")
    with pytest.raises(StoreError, match=f"store {store.type}") as error:
        store.open(Path("index"), name="mlx-test", dimension=8)
    assert "url" in error.value.hint


@pytest.mark.parametrize(("kind", "answer"), [(Qdrant, stand_ins.qdrant), (Arango, stand_ins.arango)])
def test_a_server_that_breaks_later_is_a_store_error_without_the_secret(kind, answer, monkeypatch):
    installed("qdrant server" if kind is Qdrant else "arango")
    monkeypatch.setenv("STORE_KEY", "canary-7f3a91")
    with stand_ins.serving(answer) as server:
        store = kind(url=server.url, **{"api_key_env" if kind is Qdrant else "password_env": "STORE_KEY"})
        vectors = store.open(Path("index"), name="mlx-test", dimension=8)
        server.broken = True
        for ask in (
            lambda: vectors.search(np.ones(8), 3),
            vectors.ids,
            lambda: vectors.add([Row("a", np.ones(8))]),
            lambda: vectors.delete(["a"]),
        ):
            with pytest.raises(StoreError) as error:
                ask()
            assert "canary" not in f"{error.value}{error.value.hint}{store!r}"
        vectors.close()


def test_the_key_goes_to_the_server(monkeypatch):
    installed("qdrant server")
    monkeypatch.setenv("STORE_KEY", "canary-7f3a91")
    with stand_ins.serving(stand_ins.qdrant) as server:
        Qdrant(url=server.url, api_key_env="STORE_KEY").open(Path("index"), name="mlx-test", dimension=8).close()
        assert all(headers["api-key"] == "canary-7f3a91" for *_, headers in server.asked)


def test_arango_makes_its_index_once_there_are_enough_rows_and_then_asks_it():
    installed("arango")
    with stand_ins.serving(stand_ins.arango) as server:
        store = Arango(url=server.url, password_env=None, index_from=100)
        vectors = store.open(Path("index"), name="mlx-test", dimension=8)
        many = [Row(str(number), np.random.default_rng(number).normal(size=8)) for number in range(120)]
        vectors.add(many[:99])
        vectors.search(np.ones(8), 1)
        assert server.indexes == []
        assert server.asked[-1][2]["query"] == NEAREST
        vectors.add(many[99:])
        assert [each["params"] for each in server.indexes] == [{"metric": "cosine", "dimension": 8, "nLists": 3, "defaultNProbe": 1}]
        before = vectors.search(np.ones(8), 5)
        assert server.asked[-1][2]["query"] == NEAREST_INDEXED
        vectors.close()
        reopened = store.open(Path("index"), name="mlx-test", dimension=8)
        assert reopened.indexed
        assert reopened.search(np.ones(8), 5) == before
        reopened.close()


def test_chroma_takes_another_width_of_search_up():
    installed("chroma")
    for width in (2000, 300):
        vectors = Chroma(ef_search=width).open(Path("index"), name="mlx-test", dimension=8)
        assert vectors.collection.configuration_json["hnsw"]["ef_search"] == width
        vectors.close()


def test_chroma_sends_no_telemetry():
    installed("chroma")
    vectors = Chroma().open(Path("index"), name="mlx-test", dimension=8)
    assert vectors.client.get_settings().anonymized_telemetry is False
    vectors.close()


@pytest.mark.parametrize("url", ["127.0.0.1:6333", "file:///etc/passwd", "http://user:word@127.0.0.1:6333", ""])
def test_an_address_that_is_none_or_holds_a_password_is_an_error_of_the_config(url):
    for kind in ("qdrant", "arango"):
        with pytest.raises(ValidationError):
            TypeAdapter(Store).validate_python({"type": kind, "url": url})


def test_a_kill_of_the_user_is_no_store_error(monkeypatch):
    vectors = Numpy().open(Path("index"), name="mlx-test", dimension=8)
    monkeypatch.setattr(vectors.index, "nearest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        vectors.search(np.ones(8), 1)
    vectors.close()
