import os
from pathlib import Path

import pytest

from src.core.tables import read_records

HEAD = "Title: Night\nAuthor: Mark Twain (Samuel Clemens)\nLanguage: English\n\n*** START OF THIS PROJECT GUTENBERG EBOOK NIGHT ***\n\n"
BOOK = HEAD + "It was a dark and stormy night, and the rain fell in torrents on the roofs of the town.\n"
RDF = """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/"
 xmlns:pgterms="http://www.gutenberg.org/2009/pgterms/"><pgterms:ebook>
 <dcterms:title>Night\r\nand Day</dcterms:title>
 <dcterms:creator><pgterms:agent><pgterms:name>Twain, Mark</pgterms:name></pgterms:agent></dcterms:creator>
 <dcterms:language><rdf:Description><rdf:value>en</rdf:value></rdf:Description></dcterms:language>
 <dcterms:rights>RIGHTS</dcterms:rights></pgterms:ebook></rdf:RDF>"""


def put(name: str, text: str = BOOK) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def test_all_real_books_through_the_stage(project, shared: Path) -> None:
    done = project({"type": "gutenberg", "folder": str(shared / "gutenberg")}, languages=["en"])
    assert [record.id.removeprefix("gutenberg:") for record in done.records] == [
        "74/74-0.txt", "76/76-0.txt", "76/old-hfinn11.txt", "148/148-8.txt", "148/148.txt", "1342/1342-0.txt", "1661/1661-8.txt",
        "3176/3176-0.txt", "3177/3177-0.txt", "3189/3189-8.txt",
    ]  # fmt: skip
    assert done.reasons == [("gutenberg:4650/4650-8.txt", "language"), ("gutenberg:22367/22367-8.txt", "language")]
    assert [drop["detail"][:4] for drop in done.drops] == ["fr 0", "de 0"]
    assert all("gutenberg" not in record.text.lower() for record in done.records)
    huck, old = done.records[1:3]
    assert (
        huck.meta
        == old.meta
        == {
            "source": "gutenberg:76",
            "url": "https://www.gutenberg.org/ebooks/76",
            "title": "Adventures of Huckleberry Finn",
            "author": "Twain, Mark",
            "licence": "Public domain in the USA",
            "language": "en",
        }
    )
    for text in (huck.text, old.text):
        first = text.lower().index("you don't know about me without you have read a book by the name of")
        last = text.index("I been there before.")
        assert first < 12_000
        assert len(text) - last < 80


def test_one_book_by_number_and_one_that_is_not_there(project) -> None:
    put("books/76/76-0.txt")
    put("books/77/77-0.txt")
    done = project({"type": "gutenberg", "folder": "books", "ids": [76, 99]})
    assert [record.id for record in done.records] == ["gutenberg:76/76-0.txt"]
    assert done.reasons == [("gutenberg:99", "not_found")]


def test_every_layout_of_a_folder(project) -> None:
    for name in (
        "books/7/76/76-0.txt", "books/7/76/old/hf10.txt", "books/0/5/5.txt", "books/A-Title_148/148.txt", "books/A-Title_148/LICENSE.txt",
        "books/cache/epub/11/pg11.txt", "books/pg84.txt.utf-8", "books/stray.txt",
    ):  # fmt: skip
        put(name, BOOK + name)
    put("books/cache/epub/76/pg76.rdf", RDF.replace("RIGHTS", "Public domain in the USA."))
    done = project({"type": "gutenberg", "folder": "books"})
    assert [record.id.removeprefix("gutenberg:") for record in done.records] == [
        "5/5.txt", "11/pg11.txt", "76/76-0.txt", "76/old/hf10.txt", "84/pg84.txt.utf-8", "148/148.txt"
    ]  # fmt: skip
    assert done.reasons == [("books/stray.txt", "unsupported")]
    assert done.records[2].meta["title"] == "Night and Day"


def test_a_name_that_is_no_unicode_is_mended(project) -> None:
    put(os.fsdecode(b"books/76/caf\xe9.txt"))
    assert project({"type": "gutenberg", "folder": "books"}).records[0].id == "gutenberg:76/caf\ufffd.txt"


def test_the_same_name_in_two_places_is_two_records(project) -> None:
    put("books/7/76/76-0.txt")
    put("books/76/76-0.txt", BOOK + "More.")
    assert [record.id for record in project({"type": "gutenberg", "folder": "books"}).records] == [
        "gutenberg:76/76-0.txt", "gutenberg:76/books/76/76-0.txt"
    ]  # fmt: skip


def meta_of(project, **files: str) -> dict:
    put("books/76/76-0.txt")
    for name, text in files.items():
        put(f"books/76/{name.replace('_', '.')}", text)
    return project({"type": "gutenberg", "folder": "books"}).records[0].meta


def test_what_is_known_comes_from_the_header_where_nothing_else_is(project) -> None:
    meta = meta_of(project)
    assert (meta["title"], meta["author"], meta["language"], meta["licence"]) == ("Night", "Twain, Mark", "en", "Public domain in the USA")


def test_metadata_yaml_is_read_over_the_header(project) -> None:
    text = (
        "title: Night\ncreator:\n  author:\n  - agent_name: Twain, Mark\n  - agent_name: Warner, C.\n"
        "subjects:\n- !lcsh 'Boys -- Fiction'\nrights: CC BY-NC\nlanguage: en\n"
    )
    meta = meta_of(project, metadata_yaml=text)
    assert (meta["author"], meta["licence"]) == ("Twain, Mark; Warner, C.", "Public domain in the USA")


@pytest.mark.parametrize("text", ["- a list", "title: [", "", "creator: Twain", "title: \xff"])
def test_a_broken_metadata_yaml_is_as_good_as_none(project, text: str) -> None:
    assert meta_of(project, metadata_yaml=text)["author"] == "Twain, Mark"


@pytest.mark.parametrize(
    "text", ["<rdf", "<rdf/>", RDF.replace("?>", '?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>').replace("Night", "&e;")]
)
def test_a_broken_or_hostile_record_is_as_good_as_none(project, text: str) -> None:
    assert meta_of(project, pg76_rdf=text)["title"] == "Night"


def test_troubles_with_a_book_have_their_reason(project) -> None:
    put("books/1/ok.txt")
    put("books/2/empty.txt", "")
    put("books/3/bin.txt", "PNG\0\0")
    put("books/4/bare.txt", HEAD)
    put("books/5/big.txt", BOOK + "x" * (1 << 20))
    put("books/6/mine.txt")
    put("books/6/pg6.rdf", RDF.replace("RIGHTS", "Copyrighted. Read the copyright notice inside this book for details."))
    put("books/7/gone.txt")
    Path("books/7/gone.txt").unlink()
    Path("books/7/gone.txt").symlink_to("nowhere")
    done = project({"type": "gutenberg", "folder": "books", "max_mb": 1})
    assert [reason for _, reason in done.reasons] == ["empty", "binary", "no_text", "too_large", "copyrighted", "unreadable"]
    assert len(list(read_records(Path("data/t/scrape")))) == 1
