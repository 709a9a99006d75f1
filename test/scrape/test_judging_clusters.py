"""The judges of Dask and Ray give the bytes that those of this machine give."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_gives_the_same_bytes(project, extra: str, package: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"needs the extra {extra}: uv sync --extra {extra}")
    rows = [{"text": f"Row {number} of some plain words, write to me{number}@example.org.", "day": "2026-01-01"} for number in range(9000)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"text": "lone \\ud800 one"}\nbroken\n')
    source = {"type": "files", "path": "rows.jsonl"}
    filters = [{"type": "length", "min_words": 3}, {"type": "pii"}]
    expected = project(source, filters=filters).manifest.outputs
    Path("data/t/scrape/manifest.json").unlink()
    assert project(source, filters=filters, engine={"type": extra, "workers": 2}).manifest.outputs == expected
