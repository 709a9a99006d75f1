import pickle

import pytest

from src.dedup.deduplication import Deduplication
from src.dedup.shelf import Shelf


def written(shelf, name, data):
    shelf.save(name, lambda stream: stream.write(data))


@pytest.fixture(params=["memory://mlx-test/shelf", "file://{}/a%20b", "{}/plain"])
def shelf(request, tmp_path):
    found = Shelf(request.param.format(tmp_path))
    yield found
    found.clear()


def test_what_was_saved_is_found_by_whoever_gets_the_shelf(shelf):
    written(shelf, "x", b"1234")
    other = pickle.loads(pickle.dumps(shelf))
    assert other.has("x")
    assert other.path("x").read_bytes() == b"1234"
    shelf.remove("x")
    assert not other.has("x")
    shelf.remove("x")


def test_a_file_written_again_is_read_anew_though_it_is_as_long(shelf):
    for data in (b"1234", b"5678", b"1234"):
        written(shelf, "x", data)
        assert shelf.path("x").read_bytes() == data


def test_a_write_that_fails_leaves_what_was_there(shelf):
    written(shelf, "x", b"1234")

    def fails(stream):
        stream.write(b"56")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        shelf.save("x", fails)
    assert shelf.path("x").read_bytes() == b"1234"


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_shared_folder_may_be_a_url(go, families, jsonl, monkeypatch, tmp_path, kind):
    jsonl("in.jsonl", families(4, 20))
    here = go(input="in.jsonl")[0]
    base = "memory://mlx-test" if kind == "memory" else f"file://{tmp_path}/shared"
    monkeypatch.setattr(Deduplication, "_place", lambda self: f"{base}/{self.run.name}/{self.run.work.name}")
    assert go(input="in.jsonl", name="q")[0].outputs == here.outputs
    assert go(input="in.jsonl", name="q")[0].outputs == here.outputs


def test_threads_that_want_one_file_at_once_all_get_it_whole():
    """Readers of a file in memory:// share its position: two at once would each get a part of it."""
    from concurrent.futures import ThreadPoolExecutor

    content = bytes(range(256)) * 40_000
    shelf = Shelf("memory://mlx-test/crowded")
    for number in range(20):
        shelf.save(f"{number}.bin", lambda stream: stream.write(content) and None)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: shelf.path(f"{number // 8}.bin").stat().st_size, range(160)))
    assert set(found) == {len(content)}
