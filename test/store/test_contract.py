"""What every store has to do, run over each that is installed."""

from pathlib import Path

import numpy as np
import pytest

from src.core.errors import MlxError
from src.store import Row
from src.store.failure import StoreError
from src.store.numpy import Numpy

DIMENSION = 16
FOLDER = Path("index")


def rows(count, seed=0, **meta):
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return [Row(f"notes/ä {number}.md#{number}", vector, meta | {"part": str(number % 3)}) for number, vector in enumerate(vectors)]


@pytest.fixture
def opened(store):
    vectors = store.open(FOLDER, name="mlx-test", dimension=DIMENSION)
    yield vectors
    vectors.close()


def again(vectors, store):
    vectors.close()
    return store.open(FOLDER, name="mlx-test", dimension=DIMENSION)


def test_an_empty_store_finds_nothing(opened):
    assert opened.ids() == set()
    assert opened.search(np.ones(DIMENSION), 5) == []
    assert opened.search(np.ones(DIMENSION), 5, {"part": "1"}) == []
    opened.delete(["nobody"])
    opened.delete([])
    opened.add([])
    assert opened.ids() == set()


def test_the_nearest_come_first_with_their_cosine(opened):
    opened.add(rows(60))
    asked = rows(60)[7].vector * 5 + 0.1
    cosines = {row.id: row.vector @ asked / np.linalg.norm(row.vector) / np.linalg.norm(asked) for row in rows(60)}
    hits = opened.search(asked, 10)
    assert [hit.id for hit in hits] == sorted(cosines, key=lambda each: -cosines[each])[:10]
    assert [hit.score for hit in hits] == pytest.approx([cosines[hit.id] for hit in hits], abs=2e-6)
    assert hits[0].meta == {"part": "1"}
    assert len(opened.search(asked, 100)) == 60
    assert opened.search(asked, 0) == []


def test_a_search_asks_for_meta(opened):
    opened.add([*rows(30, owner="ann"), Row("alone", np.ones(DIMENSION), {"owner": "bob", "part": "1"}), Row("bare", np.ones(DIMENSION))])
    assert [hit.id for hit in opened.search(np.ones(DIMENSION), 5, {"owner": "bob"})] == ["alone"]
    found = opened.search(np.ones(DIMENSION), 40, {"owner": "ann", "part": "2"})
    assert len(found) == 10
    assert all(hit.meta == {"owner": "ann", "part": "2"} for hit in found)
    assert opened.search(np.ones(DIMENSION), 5, {"owner": "nobody"}) == []


def test_the_same_id_again_takes_the_place_of_the_first(opened):
    opened.add(rows(5))
    opened.add([Row(rows(5)[2].id, -np.ones(DIMENSION), {"owner": "ann"})])
    assert len(opened.ids()) == 5
    assert [(hit.id, hit.score, hit.meta) for hit in opened.search(-np.ones(DIMENSION), 1)] == [(rows(5)[2].id, 1.0, {"owner": "ann"})]
    opened.add([Row("twice", np.ones(DIMENSION), {"part": "first"}), Row("twice", np.ones(DIMENSION), {"part": "last"})])
    assert [hit.meta for hit in opened.search(np.ones(DIMENSION), 1)] == [{"part": "last"}]


def test_what_is_deleted_is_not_found(opened):
    opened.add(rows(20))
    gone = [row.id for row in rows(20)[::2]]
    opened.delete([*gone, "nobody"])
    assert opened.ids() == {row.id for row in rows(20)[1::2]}
    assert not {hit.id for hit in opened.search(rows(20)[0].vector, 20)} & set(gone)


def test_equal_cosines_go_by_id_also_beyond_what_was_asked_for(opened):
    opened.add([Row(f"row {number:03}", np.ones(DIMENSION) * (number + 1)) for number in reversed(range(200))])
    assert [hit.id for hit in opened.search(np.ones(DIMENSION), 3)] == ["row 000", "row 001", "row 002"]


def test_a_store_that_is_opened_again_holds_the_same(opened, store):
    opened.add(rows(40))
    opened.delete([rows(40)[0].id])
    before = opened.search(np.ones(DIMENSION), 10)
    reopened = again(opened, store)
    assert reopened.ids() == {row.id for row in rows(40)[1:]}
    assert reopened.search(np.ones(DIMENSION), 10) == before
    reopened.close()


def test_the_same_rows_in_the_same_order_as_comparing_each(opened):
    """Clustered vectors, with doubles: what every store must rank as plain NumPy does."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(12, DIMENSION))
    vectors = np.repeat(centres, 50, axis=0) + 0.05 * random.normal(size=(600, DIMENSION))
    vectors[::7] = vectors[0]
    many = [Row(f"{number:04}", vector) for number, vector in enumerate(vectors)]
    exact = Numpy().open(Path("exact"), name="mlx-exact", dimension=DIMENSION)
    exact.add(many)
    opened.add(many)
    for asked in [*vectors[:10], *random.normal(size=(10, DIMENSION))]:
        assert opened.search(asked, 10) == exact.search(asked, 10)
    exact.close()


@pytest.mark.parametrize("vector", [np.ones(DIMENSION + 1), np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.ones((2, DIMENSION))])
def test_a_vector_that_has_no_place_in_it_is_refused_and_changes_nothing(opened, vector):
    with pytest.raises(StoreError):
        opened.add([Row("good", np.ones(DIMENSION)), Row("bad", vector)])
    assert opened.ids() == set()
    with pytest.raises(StoreError):
        opened.search(vector, 3)


def test_a_missing_package_names_the_extra(store, monkeypatch):
    for name in ("faiss", "chromadb", "qdrant_edge", "qdrant_client", "arango"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    if store.type == "numpy":
        store.open(FOLDER, name="mlx-test", dimension=DIMENSION).close()
        return
    with pytest.raises(MlxError) as error:
        store.open(FOLDER, name="mlx-test", dimension=DIMENSION)
    assert f"uv sync --extra {store.type}" in error.value.hint
