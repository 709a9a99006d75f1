import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.tables import write_records
from src.dedup import deduplication, sketching
from src.dedup.spill import Spill, write_spill

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_parts(monkeypatch):
    """Several parts of few documents."""

    def size(count):
        monkeypatch.setattr(deduplication, "cut", lambda inputs, _: [p for i in inputs for p in CUT([i], count)])

    return size


CUT = deduplication.cut


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_threads_and_the_size_of_parts_change_no_byte(go, families, jsonl, small_parts, form):
    jsonl("in.jsonl", families(1))
    found = set()
    for threads, size in ((1, 1 << 30), (1, 2000), (3, 7000), (4, 100)):
        small_parts(size)
        found.add(go(input="in.jsonl", format=form, engine={"type": "local", "threads": threads})[0].fingerprint)
    assert len(found) == 1


def test_records_cut_at_row_groups_give_the_same(go, families, small_parts, monkeypatch):
    monkeypatch.setattr("src.core.tables._ROWS", 20)
    write_records(Path("in.parquet"), families(2))
    small_parts(1 << 30)
    whole = go(input="in.parquet")[0].fingerprint
    small_parts(1)
    assert go(input="in.parquet")[0].fingerprint == whole


def engine(kind, workers=2, shared=None):
    return {"type": kind, "workers": workers, "shared": shared}


@pytest.mark.parametrize("kind", ["dask", "ray"])
@pytest.mark.filterwarnings("ignore")
def test_an_engine_gives_the_same_bytes_though_a_worker_dies(go, families, jsonl, small_parts, kind, tmp_path, monkeypatch):
    package = "distributed" if kind == "dask" else kind
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    jsonl("in.jsonl", families(3))
    small_parts(60_000)
    here = go(input="in.jsonl")[0]
    # each task on a worker, once: the first that begins takes its process with it
    (tmp_path / "sitecustomize.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setenv("DIE_ONCE", str(tmp_path / "died"))
    there = go(input="in.jsonl", name="q", engine=engine(kind, shared=str(tmp_path / "shared")))[0]
    assert (tmp_path / "died").exists()
    assert there.outputs == here.outputs
    assert not any((tmp_path / "shared").iterdir())


DYING = """
import os, sys
flag = os.environ.get("DIE_ONCE")
if flag:
    class Watch:
        def find_spec(self, name, path=None, target=None):
            if name == "src.dedup.links":
                try:
                    os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return None
                os._exit(1)
            return None
    sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_missing_package_is_named(go, families, jsonl, kind, monkeypatch):
    jsonl("in.jsonl", families(5, 2))
    monkeypatch.setitem(sys.modules, "distributed" if kind == "dask" else "ray", None)
    with pytest.raises(MlxError, match=f"needs the package {kind}"):
        go(input="in.jsonl", engine=engine(kind))


KILLED = """
import os, sys
from src.dedup import dedup, {module} as module
whole, count = module.{function}, [0]
def dying(*task):
    count[0] += 1
    if count[0] == {after}:
        os.kill(os.getpid(), 9)
    return whole(*task)
from src.dedup import deduplication
deduplication.{function} = dying
dedup(dedup.load("p.yaml"))
"""


@pytest.mark.parametrize(
    ("module", "function", "after"), [("sketching", "sketch_part", 4), ("links", "link_band", 9), ("sorting", "sort_part", 3)]
)
def test_after_kill_9_the_bytes_are_the_same_and_nothing_is_done_twice(go, families, jsonl, monkeypatch, module, function, after):
    jsonl("in.jsonl", families(6, 4_000))
    wanted = go(input="in.jsonl", part_mb=1, engine={"type": "local", "threads": 1}, name="q")[0]
    Path("p.yaml").write_text(
        json.dumps({"name": "p", "dedup": {"input": "in.jsonl", "part_mb": 1, "engine": {"type": "local", "threads": 1}}})
    )
    code = KILLED.format(module=module, function=function, after=after)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    made = {path: path.stat().st_mtime_ns for path in Path("data/p/dedup/.work").rglob("*.sketch")}
    assert len(made) >= min(after - 1, 3)
    seen = []
    write = sketching.write_spill
    monkeypatch.setattr(sketching, "write_spill", lambda *args: (seen.append(1), write(*args)))
    found = go(input="in.jsonl", part_mb=1, engine={"type": "local", "threads": 1}, force=False)[0]
    assert found.fingerprint == wanted.fingerprint
    parts = -(-Path("in.jsonl").stat().st_size // (1 << 20))
    assert len(made) + len(seen) == parts


def damaged(path, how):
    data = bytearray(path.read_bytes())
    if how == "short":
        del data[-100:]
    elif how == "empty":
        data.clear()
    else:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["short", "empty", "flipped"])
@pytest.mark.parametrize("kind", ["*.sketch", "*.links"])
def test_a_damaged_spill_is_made_again(go, families, jsonl, monkeypatch, how, kind):
    jsonl("in.jsonl", families(7, 30))
    wanted = go(input="in.jsonl", name="q")[0]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deduplication, "decide", stop)
        with pytest.raises(KeyboardInterrupt):
            go(input="in.jsonl", force=False)
    paths = list(Path("data/p/dedup/.work").rglob(kind))
    assert paths
    for path in paths:
        damaged(path, how)
    assert go(input="in.jsonl", force=False)[0].fingerprint == wanted.fingerprint


def test_a_spill_of_another_part_is_not_taken(tmp_path, families, jsonl):
    from src.dedup.parts import Part
    from src.dedup.shelf import Shelf

    jsonl("in.jsonl", families(8, 5))
    part = Part("in.jsonl", "jsonl", 0, Path("in.jsonl").stat().st_size, "f", str(Path("in.jsonl").absolute()))
    method = sketching.Method("words", 5, 0.8, "text", None)
    shelf = Shelf(str(tmp_path / "shelf"))
    head = sketching.sketch_part(shelf, part, method)
    shelf.save(f"{part.name}.sketch", lambda stream: write_spill(stream, {"key": "another"}, {}))
    again = sketching.sketch_part(shelf, part, method)
    assert {name: again[name] for name in head} == head
    assert Spill.open(shelf.path(f"{part.name}.sketch")).head["documents"] == head["documents"]
