import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Site:
    """Files by path; each path may hold several answers, given one after another."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.agents: set[str | None] = set()
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                site.agents.add(self.headers["User-Agent"])
                site.headers.append(dict(self.headers.items()))
                answers = site.answers.get(self.path, [(404, {}, b"no")])
                status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                for key, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def put(self, path: str, *answers: tuple[int, dict[str, str], bytes] | bytes) -> None:
        self.answers[path] = [(200, {}, each) if isinstance(each, bytes) else each for each in answers]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Site()
    yield found
    found.close()
