import codecs
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import polars as pl
import pytest

from src.core.ledger import Drop
from src.scrape import files
from src.scrape.files import FilesSource


def read(path: str | Path, **settings: object) -> list:
    source = FilesSource(path=path, **settings)
    found = []
    for piece in source.pieces(Path(), Path()):
        found += [piece] if isinstance(piece, Drop) else list(piece.make())
    return found


def only(path: str | Path, **settings: object):
    (found,) = read(path, **settings)
    return found


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_markdown_and_html_have_titles() -> None:
    Path("a.md").write_text("intro\n\n# The Title #\n\ntext\n")
    Path("b.HTML").write_text("<title>A &amp; B</title><nav>menu</nav><p>one</p><p>two<br/>lines")
    md, html = read(".")
    assert (md.id, md.meta) == ("a.md", {"source": "a.md", "title": "The Title"})
    assert (html.text, html.meta["title"]) == ("one\n\ntwo\nlines", "A & B")


def test_rows_of_every_kind_of_table_are_the_same_records() -> None:
    rows = [{"text": "one", "n": 1}, {"text": "two\nlines", "n": 2}]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("b.json").write_text(json.dumps(rows, indent=1))
    Path("c.csv").write_text('text,n\none,1\n"two\nlines",2\n')
    Path("d.tsv").write_text('n\ttext\n1\tone\n2\t"two\nlines"\n')
    pl.DataFrame(rows).write_parquet("e.parquet")
    found = read(".")
    assert [record.text for record in found] == ["one", "two\nlines"] * 5
    assert [record.id for record in found] == [
        "a.jsonl:1", "a.jsonl:2", "b.json:1", "b.json:2", "c.csv:2", "c.csv:3", "d.tsv:2", "d.tsv:3", "e.parquet:1", "e.parquet:2"
    ]  # fmt: skip
    assert found[0].meta == {"source": "a.jsonl:1", "n": 1}
    assert found[4].meta == {"source": "c.csv:2", "n": "1"}


def test_columns_are_chosen_and_joined() -> None:
    Path("a.jsonl").write_text(
        '{"key": 7, "title": "T", "body": "B", "source": "doc", "x": "", "y": NaN}\n{"key": 8, "title": " ", "body": "C"}\n'
    )
    first, second = read("a.jsonl", text=["title", "body"], id="key", meta={"licence": "MIT"})
    assert (first.id, first.text, first.meta) == ("7", "T\n\nB", {"source": "doc", "licence": "MIT"})
    assert (second.id, second.text, second.meta["source"]) == ("8", "C", "8")


def test_every_trouble_with_a_row_has_its_reason() -> None:
    Path("a.jsonl").write_text('{"text": "ok"}\n{"text": \n[1]\n{"body": 1}\n{"text": [1]}\n{"text": "x", "id": null}\n')
    found = read("a.jsonl", id="text")
    assert found[0].id == "ok"
    assert [(drop.id, drop.reason) for drop in found if isinstance(drop, Drop)] == [
        ("a.jsonl:2", "bad_json"), ("a.jsonl:3", "not_object"), ("a.jsonl:4", "no_text"), ("a.jsonl:5", "no_text")
    ]  # fmt: skip
    assert found[1].detail == "column 9: Expecting value"
    assert found[3].detail == "nothing in text; it has body"
    assert only_reason('{"text": "x"}\n', id="key") == "no_id"


def only_reason(line: str, **settings: object) -> str:
    Path("b.jsonl").write_text(line)
    return only("b.jsonl", **settings).reason


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.txt", b"", "empty"),
        ("blank.txt", b" \r\n\n", "empty"),
        ("empty.csv", b"", "empty"),
        ("image.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("image.jsonl", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("liar.txt", codecs.BOM_UTF8 + b"caf\xe9", "undecodable"),
        ("odd.txt", codecs.BOM_UTF16_LE + b"abc", "undecodable"),
        ("a.docx", b"PK", "unsupported"),
        ("LICENSE", b"MIT", "unsupported"),
        ("bad.parquet", b"PAR1 not really PAR1", "bad_parquet"),
        ("menu.html", b"<nav>only a menu</nav><script>x</script>", "no_text"),
        ("broken.html", b"<p>x</p><![foo[bar]]>", "bad_html"),
        ("big.txt", b"x" * (1 << 20) + b"y", "too_large"),
        ("half.json", b'[{"text": "a"}', "bad_json"),
    ],
)
def test_every_trouble_with_a_file_has_its_reason(name: str, data: bytes, reason: str) -> None:
    Path(name).write_bytes(data)
    drop = read(".", max_file_mb=1)[-1]
    assert (drop.id.split(":")[0], drop.reason) == (name, reason)


TEXT = "Café “naïve” – 5 €"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.jsonl", "a.json", "a.csv"])
def test_every_encoding_in_every_format(name: str, encoding: str) -> None:
    body = {"a.jsonl": f'{{"text": "{TEXT}"}}\n', "a.json": f'[{{"text": "{TEXT}"}}]', "a.csv": f"text,n\n{TEXT},1\n"}.get(name, TEXT)
    if name == "a.jsonl" and encoding == "utf-32":
        body *= 2
    Path(name).write_bytes(body.encode(encoding))
    assert {record.text for record in read(name)} == {TEXT}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_50_mb_row_is_dropped_in_bounded_memory(name: str) -> None:
    before, after = {
        "a.jsonl": ('{"text": "', '"}\n{"text": "last"}\n'),
        "a.json": ('[{"text": "', '"}]'),
        "a.csv": ("text\n", "\nlast\n"),
    }[name]
    with Path(name).open("w") as stream:
        stream.write(before)
        for _ in range(50):
            stream.write("x" * (1 << 20))
        stream.write(after)
    tracemalloc.start()
    found = read(name, max_line_mb=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0].reason == "line_too_long"
    assert peak < 16 << 20
    assert name == "a.json" or found[1].text == "last"


def test_an_open_quote_does_not_swallow_the_rest_of_a_csv() -> None:
    Path("a.csv").write_text('text,n\n"open,1\n' + "line,2\n" * 200_000 + "end,3\n")
    found = read("a.csv", max_line_mb=1)
    assert found[0].reason == "line_too_long"
    assert found[-1].text == "end"


def test_a_row_with_too_many_cells_is_dropped_and_a_short_one_kept() -> None:
    Path("a.csv").write_text("text,n\none,1,2\ntwo\nthree,3,\n\nfour,4\n")
    found = read("a.csv")
    assert (found[0].id, found[0].reason, found[0].detail) == ("a.csv:2", "bad_row", "3 cells under 2 columns")
    assert [record.text for record in found[1:]] == ["two", "three", "four"]


def test_the_delimiter_is_the_one_that_gives_the_wanted_column() -> None:
    Path("a.csv").write_text("id;text;a,b,c,d\n1;x, y;2\n")
    assert only("a.csv").text == "x, y"
    Path("b.csv").write_text("text^n\nx,y^1\n")
    assert only("b.csv", delimiter="^").text == "x,y"


def test_json_of_one_object_or_of_objects_after_each_other_is_rows_too() -> None:
    Path("a.json").write_text('{"text": "one"}')
    Path("b.json").write_text('{"text": "one"}\n{"text": "two"}\n')
    Path("c.json").write_text('[{"text": "one"}, 7, {"text": "two"}]')
    Path("d.json").write_text("[]")
    assert [item.text if not isinstance(item, Drop) else item.reason for item in read(".")] == [
        "one",
        "one",
        "two",
        "one",
        "not_object",
        "two",
        "empty",
    ]


def test_a_long_json_list_is_read_through_a_window() -> None:
    rows = [{"text": f"row {number} " + "x" * 500} for number in range(2000)]
    Path("a.json").write_text(json.dumps(rows))
    assert [record.text for record in read("a.json")] == [row["text"] for row in rows]


def test_folders_patterns_hidden_files_and_order() -> None:
    for name in ("b.txt", "a/z.txt", "a/.hidden.txt", ".git/x.txt", "c/d/e.txt"):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        Path("in", name).write_text("text")
    assert [record.id for record in read("in")] == ["in/a/z.txt", "in/b.txt", "in/c/d/e.txt"]
    assert [record.id for record in read("in", recursive=False)] == ["in/b.txt"]
    assert [record.id for record in read("in/**/e.*")] == ["in/c/d/e.txt"]
    assert [record.id for record in read("in/a")] == ["in/a/z.txt"]
    assert sorted(map(str, FilesSource(path="in").files())) == ["in/a/z.txt", "in/b.txt", "in/c/d/e.txt"]


def test_a_name_with_brackets_is_a_name() -> None:
    Path("notes [old].txt").write_text("text")
    assert only("notes [old].txt").text == "text"


def test_links_in_a_circle_and_links_to_nothing() -> None:
    Path("in").mkdir()
    Path("in/a.txt").write_text("text")
    Path("in/loop").symlink_to("..", target_is_directory=True)
    Path("in/gone.txt").symlink_to("nowhere.txt")
    found = read("in")
    assert [(item.id, getattr(item, "reason", "kept")) for item in found] == [("in/a.txt", "kept"), ("in/gone.txt", "unreadable")]
    assert list(FilesSource(path="in").files()) == [Path("in/a.txt")]


def test_a_pipe_is_not_waited_on() -> None:
    os.mkfifo("pipe.txt")
    assert only("pipe.txt").reason == "unsupported"


def test_a_name_that_is_no_unicode_is_mended() -> None:
    Path(os.fsdecode(b"caf\xe9.txt")).write_text("text")
    assert only(".").id == "caf�.txt"


def test_what_may_not_be_read_is_dropped_and_the_rest_goes_on() -> None:
    Path("in/shut").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "shut/c.txt", "rows.jsonl"):
        Path("in", name).write_text('{"text": "x"}')
    for name in ("in/a.txt", "in/rows.jsonl", "in/shut"):
        Path(name).chmod(0)
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; import polars\n"
        "from src.scrape.files import FilesSource\n"
        "from src.core.ledger import Drop\n"
        "os.getuid() or os.setuid(65534)\n"
        "source = FilesSource(path='in')\n"
        "print(sorted(map(str, source.files())))\n"
        "for p in source.pieces(Path(), Path()):\n"
        "    for x in [p] if isinstance(p, Drop) else p.make(): print(x.id, getattr(x, 'reason', 'kept'))\n"
    )
    place, root = Path.cwd(), Path(files.__file__).parents[2]
    for folder in (place, *place.parents):  # the user that the child becomes has to get here
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False)
    if "Permission" in done.stderr:
        pytest.skip("another user may not read the repository here")
    assert done.stdout.splitlines()[1:] == [
        "in/a.txt unreadable", "in/b.txt kept", "in/rows.jsonl unreadable", "in/shut unreadable"
    ], done.stderr  # fmt: skip


def test_taborda(shared: Path) -> None:
    found = read(shared / "finance_tweets/taborda/tweets_labelled_09042020_16072020.csv", id="id")
    assert len(found) == 5000
    assert not [item for item in found if isinstance(item, Drop)]
    assert found[0].text.count("\n") == 5
    assert sum("sentiment" in record.meta for record in found) == 1300


def test_reddit(shared: Path) -> None:
    found = read(shared / "reddit/*.json", text="title", id="id")
    assert len(found) == 2000
    assert found[0].meta["subreddit"] == "NotTheOnion" or found[0].meta["subreddit"] == "nottheonion"
    assert not [item for item in found if isinstance(item, Drop)]
