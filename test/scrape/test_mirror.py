"""A real HTTP server on this machine stands for a mirror."""

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.scrape.fetcher import Fetcher, FetchFailedError, NotFoundError, retry_after
from src.scrape.mirror import Mirror

BOOK = b"*** START OF THIS PROJECT GUTENBERG EBOOK N ***\n\nIt was a dark and stormy night, and the rain fell in torrents.\n"


def source(site, *ids: int, **settings: object) -> dict:
    return {"type": "gutenberg", "ids": ids, "base_url": site.url, "delay": 0, "timeout": 5, "allow_private": True} | settings


def test_books_are_fetched_with_their_record(project, site) -> None:
    site.put("/7/76/76-0.txt", BOOK)
    site.put("/0/5/5.txt", BOOK)
    site.put("/cache/epub/11/pg11.txt", BOOK)
    done = project(source(site, 76, 5, 11, 404))
    assert [record.id for record in done.records] == ["gutenberg:76/76-0.txt", "gutenberg:5/5.txt", "gutenberg:11/pg11.txt"]
    assert done.records[0].text == "It was a dark and stormy night, and the rain fell in torrents."
    assert done.reasons == [("gutenberg:404", "not_found")]
    assert site.asked[:2] == ["/7/76/76-0.txt", "/cache/epub/76/pg76.rdf"]
    assert site.asked[2:6] == ["/0/5/5-0.txt", "/0/5/5-8.txt", "/0/5/5.txt", "/cache/epub/5/pg5.rdf"]
    (agent,) = site.agents
    assert agent
    assert agent.startswith("mlx/")


def test_after_an_interruption_only_what_is_missing_is_fetched(project, site, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/7/76/76-0.txt", "/7/74/74-0.txt", "/0/5/5-0.txt"):
        site.put(path, BOOK)
    real = Fetcher._ask

    def dying(self: Fetcher, url: str, *rest: object) -> bytes:
        if "/74/pg74" in url:
            raise KeyboardInterrupt
        return real(self, url, *rest)

    monkeypatch.setattr(Fetcher, "_ask", dying)
    with pytest.raises(KeyboardInterrupt):
        project(source(site, 76, 74, 5))
    assert site.asked == ["/7/76/76-0.txt", "/cache/epub/76/pg76.rdf", "/7/74/74-0.txt"]
    monkeypatch.setattr(Fetcher, "_ask", real)
    site.asked.clear()
    assert len(project(source(site, 76, 74, 5)).records) == 3
    assert site.asked == ["/cache/epub/74/pg74.rdf", "/0/5/5-0.txt", "/cache/epub/5/pg5.rdf"]


def test_a_failure_is_tried_again_by_the_next_run_and_is_no_finished_piece(project, site) -> None:
    site.put("/7/76/76-0.txt", BOOK)
    site.put("/7/74/74-0.txt", (403, {}, b""), BOOK)
    with pytest.raises(MlxError, match=r"more than max_drop 10%: fetch_failed 1"):
        project(source(site, 76, 74), max_drop=0.1)
    site.asked.clear()
    assert len(project(source(site, 76, 74), max_drop=0.1).records) == 2
    assert site.asked == ["/7/74/74-0.txt", "/cache/epub/74/pg74.rdf"]


def test_a_refusal_is_a_drop_that_says_so(project, site) -> None:
    site.put("/7/76/76-0.txt", BOOK)
    site.put("/7/74/74-0.txt", (403, {}, b""))
    done = project(source(site, 76, 74))
    assert done.reasons == [("gutenberg:74", "fetch_failed")]
    assert "403" in done.drops[0]["detail"]


def test_a_mirror_without_a_single_book_is_an_error(project, site) -> None:
    with pytest.raises(MlxError, match=r"none of 2 books could be fetched: no text of it at http://127"):
        project(source(site, 76, 74))


def test_no_network_is_an_error_after_a_few_books(project) -> None:
    with pytest.raises(MlxError, match="none of 9 books could be fetched") as error:
        project(
            {
                "type": "gutenberg",
                "ids": list(range(1, 10)),
                "base_url": "http://127.0.0.1:9",
                "delay": 0,
                "timeout": 1,
                "allow_private": True,
            }
        )
    assert "`folder`" in error.value.hint


def test_a_web_page_instead_of_a_text_is_a_failure(project, site) -> None:
    site.put("/7/76/76-0.txt", BOOK)
    site.put("/7/74/74-0.txt", b"<!DOCTYPE html><p>log in to the airport's network")
    done = project(source(site, 76, 74))
    assert done.reasons == [("gutenberg:74", "fetch_failed")]


def mirror(site, **settings: float) -> tuple[Mirror, list[float]]:
    slept: list[float] = []
    return Mirror(site.url, Fetcher(delay=settings.get("delay", 2), timeout=5, max_mb=1, allow_private=True, sleep=slept.append)), slept


def test_retry_after_is_honoured(site, tmp_path: Path) -> None:
    site.put("/a.txt", (503, {"Retry-After": "7"}, b""), (429, {"Retry-After": formatdate(time.time() + 60, usegmt=True)}, b""), b"text")
    guest, slept = mirror(site)
    guest.fetch("a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"text"
    assert 7.0 in slept
    assert any(50 < pause <= 60 for pause in slept)


def test_a_wait_that_is_too_long_is_a_failure(site, tmp_path: Path) -> None:
    site.put("/a.txt", (503, {"Retry-After": "86400"}, b""))
    with pytest.raises(FetchFailedError, match="503"):
        mirror(site)[0].fetch("a.txt", tmp_path / "a.txt")
    assert site.asked == ["/a.txt"]


def test_between_two_requests_lies_the_delay(site, tmp_path: Path) -> None:
    site.put("/a.txt", b"a")
    site.put("/b.txt", b"b")
    guest, slept = mirror(site)
    guest.fetch("a.txt", tmp_path / "a.txt")
    guest.fetch("b.txt", tmp_path / "b.txt")
    guest.fetch("b.txt", tmp_path / "b.txt")
    assert len(slept) == 1
    assert 1.5 < slept[0] <= 2
    assert len(site.asked) == 2


def test_tries_come_to_an_end(site, tmp_path: Path) -> None:
    site.put("/a.txt", (500, {}, b""))
    guest, _ = mirror(site, delay=0)
    with pytest.raises(FetchFailedError) as error:
        guest.fetch("a.txt", tmp_path / "a.txt")
    assert error.value.reached
    assert len(site.asked) == 4


def test_a_file_cut_short_is_fetched_again_and_one_too_large_is_not(site, tmp_path: Path) -> None:
    site.put("/a.txt", (200, {"Content-Length": "100"}, b"cut"), b"whole")
    site.put("/b.txt", b"x" * (2 << 20))
    guest, _ = mirror(site, delay=0)
    guest.fetch("a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"whole"
    with pytest.raises(FetchFailedError, match="over 1 MB"):
        guest.fetch("b.txt", tmp_path / "b.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt"]


def test_redirects_are_followed_but_not_to_the_site_for_humans(site, tmp_path: Path) -> None:
    site.put("/a.txt", (301, {"Location": "/b.txt"}, b""))
    site.put("/b.txt", b"text")
    site.put("/c.txt", (302, {"Location": "https://www.gutenberg.org/files/76/76-0.txt"}, b""))
    site.put("/d.txt", (410, {}, b""))
    guest, _ = mirror(site, delay=0)
    guest.fetch("a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"text"
    with pytest.raises(FetchFailedError, match="not for programs"):
        guest.fetch("c.txt", tmp_path / "c.txt")
    with pytest.raises(NotFoundError):
        guest.fetch("d.txt", tmp_path / "d.txt")


@pytest.mark.parametrize(("value", "seconds"), [(None, 0), ("", 0), ("soon", 0), ("12", 12), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)])
def test_retry_after_in_all_its_forms(value: str | None, seconds: float) -> None:
    assert retry_after(value) == seconds
