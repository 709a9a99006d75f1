"""The API is a loopback server that pages through the real schema of ../shared/data/gutendex."""

import json

import pytest

from src.core.errors import ConfigError, MlxError

BOOK = b"*** START OF THIS PROJECT GUTENBERG EBOOK N ***\n\nIt was a dark and stormy night, and the rain fell in torrents.\n"


def book(number: int, author: str = "Twain, Mark", **more) -> dict:
    """The older schema: no `summaries`, no `editors`."""
    plain = {"text/plain; charset=us-ascii": f"https://www.gutenberg.org/ebooks/{number}.txt.utf-8"}
    return {
        "id": number, "title": f"Book {number}", "authors": [{"name": author, "birth_year": 1835, "death_year": 1910}], "subjects": ["Fun"],
        "bookshelves": [], "languages": ["en"], "copyright": False, "media_type": "Text", "formats": plain, "download_count": 1,
    } | more  # fmt: skip


def pages(site, rows: list, query: str, size: int = 2) -> None:
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    for number, part in enumerate(parts, 1):
        path = "/books/?" + (query if number == 1 else f"{query}&page={number}")
        following = f"https://elsewhere.example/books/?{query}&page={number + 1}" if number < len(parts) else None
        site.put(path, json.dumps({"count": len(rows), "next": following, "previous": None, "results": part}).encode())


def source(site, **search) -> dict:
    search = {"url": site.url} | search
    return {"type": "gutenberg", "search": search, "base_url": site.url, "delay": 0, "timeout": 5, "allow_private": True}


def test_books_are_found_page_by_page_and_fetched_where_the_api_says(project, site) -> None:
    newer = book(74, summaries=["About Tom."], editors=[])
    newer["formats"] = {"text/html": "x", "text/plain; charset=utf-8": "https://www.gutenberg.org/files/74/74-0.txt"}
    rows = [book(76), newer, book(3), book(86, "Clemens, Mark Twain's friend"), book(5, "Doyle, Arthur")]
    pages(site, rows, "search=Twain+Mark&languages=en&copyright=false&sort=ascending")
    for path in ("/cache/epub/76/pg76.txt", "/7/74/74-0.txt", "/8/86/86-8.txt"):
        site.put(path, BOOK)
    done = project(source(site, author="Twain, Mark", languages=["en"], sort="ascending"))
    assert [record.id for record in done.records] == ["gutenberg:76/pg76.txt", "gutenberg:74/74-0.txt", "gutenberg:86/86-8.txt"]
    assert done.reasons == [("gutenberg:3", "not_found")]
    assert done.records[1].meta == {
        "source": "gutenberg:74", "url": "https://www.gutenberg.org/ebooks/74", "title": "Book 74", "author": "Twain, Mark",
        "licence": "Public domain in the USA", "subjects": ["Fun"], "summary": "About Tom.", "language": "en",
    }  # fmt: skip
    assert not any("rdf" in path for path in site.asked)
    assert not any("page=4" in path for path in site.asked)


def test_the_limit_ends_the_search(project, site) -> None:
    pages(site, [book(number) for number in range(1, 9)], "topic=fun&copyright=false&sort=popular")
    for number in (1, 2, 3):
        site.put(f"/cache/epub/{number}/pg{number}.txt", BOOK)
    done = project(source(site, topic="fun", limit=3))
    assert len(done.records) == 3
    assert sum(path.startswith("/books") for path in site.asked) == 2


def test_what_is_no_free_text_is_dropped_with_its_reason(project, site) -> None:
    rows = [book(1, copyright=True), book(2, copyright=None), book(3, media_type="Sound"), {"title": "?"}, "row", book(4)]
    pages(site, rows, "copyright=false&sort=popular", size=9)
    site.put("/cache/epub/4/pg4.txt", BOOK)
    done = project(source(site))
    assert [reason for _, reason in done.reasons] == ["copyrighted", "copyrighted", "no_text", "bad_row", "bad_row"]


def test_the_real_schema(project, site, shared) -> None:
    rows = json.loads((shared / "gutendex/books_from_rdf.json").read_text())["results"]
    pages(site, rows, "search=twain&copyright=false&sort=popular", size=5)
    for row in rows:
        number = str(row["id"])
        site.put(f"/{'/'.join(number[:-1]) or '0'}/{number}/{number}-0.txt", BOOK)
    done = project(source(site, author="twain"))
    twain = [row["id"] for row in rows if any("Twain" in person["name"] for person in row["authors"])]
    assert twain
    assert [record.meta["source"] for record in done.records] == [f"gutenberg:{number}" for number in twain]


def test_ids_and_search_stand_together(project, site) -> None:
    pages(site, [book(1), book(2)], "copyright=false&sort=popular")
    for number in (1, 2):
        site.put(f"/0/{number}/{number}-0.txt", BOOK)
        site.put(f"/cache/epub/{number}/pg{number}.txt", BOOK)
    done = project(source(site) | {"ids": [2]})
    assert [record.meta["source"] for record in done.records] == ["gutenberg:2", "gutenberg:1"]


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"results": 1}', (500, {}, b""), (403, {}, b"")])
def test_an_api_that_is_none_is_an_error(project, site, answer) -> None:
    site.put("/books/?copyright=false&sort=popular", answer)
    with pytest.raises(MlxError, match=r"no list of books|no answer of gutendex"):
        project(source(site))


def test_a_search_that_finds_nothing_is_an_error(project, site) -> None:
    with pytest.raises(MlxError, match="the search found none"):
        project(source(site))


@pytest.mark.parametrize(
    ("more", "fault"),
    [({"search": {"url": "gutendex"}}, "no address"), ({"search": {}, "folder": "."}, "take one of them"), ({}, "`ids` or `search`")],
)
def test_a_wrong_search_says_so(project, more, fault) -> None:
    with pytest.raises(ConfigError, match=fault):
        project({"type": "gutenberg"} | more)
