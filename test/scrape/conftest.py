import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.manifest import Manifest
from src.core.records import Record
from src.core.tables import read_records
from src.scrape import scrape

SHARED = Path(__file__).parents[3] / "shared" / "data"


class Scraped:
    """What a run of the stage left behind."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.records: list[Record] = list(read_records(Path("data/t/scrape")))
        dropped = Path("data/t/scrape/dropped.jsonl")
        self.drops: list[dict[str, Any]] = (
            [json.loads(line) for line in dropped.read_text(encoding="utf-8").splitlines()] if dropped.exists() else []
        )

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(drop["id"], drop["reason"]) for drop in self.drops]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scraped]:
    """Run the stage on sources given as dicts, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*sources: dict[str, Any], **settings: Any) -> Scraped:
        Path("t.yaml").write_text(json.dumps({"name": "t", "scrape": {"sources": sources, **settings}}))
        manifest = scrape(scrape.load("t.yaml"))
        assert manifest.counts["read"] == manifest.counts["kept"] + manifest.counts["dropped"]
        return Scraped(manifest)

    return run


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real input data is not beside the repository (../shared/data)")
    return SHARED
