import asyncio
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.scrape.crawl import browser
from src.scrape.crawl.browser import browser_settings, chromium, may_load
from src.scrape.crawl.guard import Guard
from src.scrape.web import WebSource


@pytest.fixture
def no_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM_PATH", raising=False)
    monkeypatch.setattr(browser.shutil, "which", lambda _: None)
    monkeypatch.setattr(browser, "find_spec", lambda _: "there")


def test_a_missing_chromium_is_said_before_anything_is_fetched(no_chromium: None) -> None:
    (piece,) = WebSource(start="http://a.example/", javascript=True).pieces(Path("w"), Path("c"))
    with pytest.raises(MlxError, match="needs a Chromium") as error:
        list(piece.make())
    assert "CHROMIUM_PATH" in error.value.hint


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find_spec", lambda _: None)
    with pytest.raises(MlxError, match="scrapy-playwright"):
        chromium()


def test_what_a_page_may_load() -> None:
    guard = Guard()
    wanted = [
        "http://127.0.0.1/x",
        "http://localhost/",
        "http://2130706433/",
        "file:///etc/passwd",
        "data:text/css,x",
        "http:///",
        "http://x.invalid/",
    ]
    assert [asyncio.run(may_load(url, guard)) for url in wanted] == [False, False, False, False, True, False, False]
    assert guard.refused["localhost"] in ("127.0.0.1", "::1")
    assert asyncio.run(may_load("http://127.0.0.1/x", Guard(True)))


def test_settings_leave_out_what_no_text_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find_spec", lambda _: "there")
    fake = Path("chromium")
    fake.touch(mode=0o755)
    monkeypatch.setenv("CHROMIUM_PATH", str(fake))

    class Request:
        def __init__(self, kind: str, url: str) -> None:
            self.resource_type, self.url = kind, url

    made = browser_settings(Guard(True), timeout=3)
    unwanted = made["PLAYWRIGHT_ABORT_REQUEST"]
    assert asyncio.run(unwanted(Request("image", "http://127.0.0.1/")))
    assert not asyncio.run(unwanted(Request("script", "http://127.0.0.1/")))
    assert made["PLAYWRIGHT_LAUNCH_OPTIONS"]["executable_path"] == str(fake)


def test_a_page_that_is_empty_without_javascript(site) -> None:
    try:
        chromium()
    except MlxError as error:
        pytest.skip(str(error))
    words = "Words that only a script writes. " * 20
    site.pages["/"] = (
        f"<html><body><main id=m></main><script>m.innerHTML='<article><p>{words}</p></article>'</script></body></html>".encode()
    )
    (piece,) = WebSource(start=site.url, javascript=True, allow_private=True, delay=0, workers=1).pieces(Path("w"), Path("c"))
    (record,) = piece.make()
    assert "only a script writes" in record.text
