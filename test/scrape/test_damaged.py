"""Two hundred inputs, each damaged in its own way: no crash, and every one of them accounted for."""

import codecs
import gzip
import json
import os
import random
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import zstandard

GOOD = {"text": "A good row of plain words.", "n": 1}
LINE = json.dumps(GOOD).encode() + b"\n"
KNOWN = {
    "bad_html", "bad_json", "bad_parquet", "bad_row", "binary", "duplicate_id", "empty", "line_too_long", "no_id", "no_text", "not_object",
    "too_large", "too_short", "truncated", "undecodable", "unreadable", "unsupported",
}  # fmt: skip


def damaged() -> dict[str, bytes]:
    """Names and bytes of 200 files, the same in every run."""
    dice = random.Random(7)
    files: dict[str, bytes] = {}
    whole = {"gz": gzip.compress(LINE * 500, mtime=0), "zst": zstandard.ZstdCompressor().compress(LINE * 500)}
    for packed, data in whole.items():
        for number in range(20):
            cut = dice.randrange(1, len(data))
            files[f"cut{number}.jsonl.{packed}"] = data[:cut]
            at = dice.randrange(len(data))
            files[f"flip{number}.jsonl.{packed}"] = data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
    values = ["null", "[]", "7", '"text"', "{}", "true", "NaN", "-Infinity", "1e999", '{"text": null}', '{"text": 1e400}', '{"text": []}']
    values += [
        '{"text": {}}',
        '{"text": true}',
        '{"text": ""}',
        '{"text": "\\u0000"}',
        '{"text": "\\ud800"}',
        "{'text': 'x'}",
        '{"text": "x"',
    ]
    values += [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"text": ' + "[" * 50_000 + "]" * 50_000 + "}",
        "9" * 10_000,
        '{"text": ' + "9" * 5000 + "}",
    ]
    values += ['{"text": "x"}}', '{"text": "x"} {"text": "y"}', '{"text": "\x01"}', "\ufeff" * 3, '{"text": "x", "text": "y"}', "<html>"]
    for number, value in enumerate(values):
        files[f"value{number}.jsonl"] = value.encode() + b"\n" + LINE
        files[f"value{number}.json"] = value.encode()
    bytes_ = [
        b"\0",
        b"\0" * 1000,
        b"\xff\xfe",
        b"\xff\xfea",
        b"\xef\xbb\xbf\xff",
        b"\xff" * 50,
        b"\xc3",
        b"\xed\xa0\x80",
        b"caf\xe9 au lait",
        b"\x1a",
    ]
    for number, value in enumerate(bytes_):
        for suffix in ("txt", "csv", "html", "md"):
            files[f"bytes{number}.{suffix}"] = value
    files |= {
        "long.jsonl": b'{"text": "' + b"x" * (20 << 20) + b'"}\n' + LINE,
        "long.json": b'[{"text": "' + b"x" * (20 << 20) + b'"}]',
        "long.csv": b"text\n" + b"x" * (20 << 20) + b"\nshort but good row\n",
        "long.txt": b"x" * (20 << 20),
        "quote.csv": b'text,n\n"never closed,1\nmore,2\n',
        "wide.csv": b"text\nfine row here\na,b,c\n",
        "header.csv": b"text,text,\n",
        "twice.jsonl": b'{"text": "One good row.", "id": "a"}\n{"text": "Another good row.", "id": "a"}\n',
        "page.html": b"<p>x</p><![foo[bar]]>" + b"<div>" * 5000,
        "bomb.txt.gz": gzip.compress(b"a" * (10 << 20), mtime=0),
        "parquet.parquet": b"PAR1" + b"\0" * 100 + b"PAR1",
        "bin.parquet.gz": gzip.compress(b"PAR1", mtime=0),
        "empty.gz": b"",
        "no.jsonl.gz": b"plain text, no gzip",
        "book.docx": b"PK\x03\x04",
        "noname": b"?",
    }
    for number in range(200 - len(files)):
        files[f"noise{number}.jsonl"] = (
            dice.randbytes(300) if number % 2 else LINE + bytes(dice.choices(range(32, 127), k=200)) + b"\n" + LINE
        )
    return files


def test_two_hundred_damaged_inputs(project) -> None:
    files = damaged()
    assert len(files) == 200
    for name, data in files.items():
        Path("in").mkdir(exist_ok=True)
        Path("in", name).write_bytes(data)
    pl.DataFrame({"text": [[1, 2]], "n": [b"\xff"]}).write_parquet("in/types.parquet")
    Path("in/loop").symlink_to("loop")
    os.mkfifo("in/pipe.txt")
    source = {"type": "files", "path": "in", "max_line_mb": 1, "max_file_mb": 8}
    filters = [{"type": "pii"}, {"type": "c4", "min_sentences": 0, "min_line_words": 2}]
    done = project(source, {**source, "path": "in/twice.jsonl", "id": "id"}, filters=filters, clean={"entities": True})
    counts = done.manifest.counts
    assert counts["read"] == counts["kept"] + counts["dropped"] == len(done.records) + len(done.drops)
    reasons = Counter(reason for _, reason in done.reasons)
    assert set(reasons) <= KNOWN | {"c4_no_line", "c4_curly_brace"}, reasons
    assert {
        "truncated",
        "bad_json",
        "line_too_long",
        "too_large",
        "binary",
        "undecodable",
        "duplicate_id",
        "bad_parquet",
        "unsupported",
    } <= set(reasons)
    # every file has left at least one row behind
    accounted = {name.split(":")[0] for name in [*(record.id for record in done.records), *(drop["id"] for drop in done.drops)]}
    assert not {"in/" + name for name in (*files, "types.parquet", "loop", "pipe.txt")} - accounted
    # the good rows beside the damaged ones were all kept
    assert sum(record.text == GOOD["text"] for record in done.records) > 5000
    assert all(record.text.encode() for record in done.records)


def test_an_undamaged_run_of_the_same_inputs_gives_the_same_bytes(project) -> None:
    Path("in").mkdir()
    for name, data in list(damaged().items())[::7]:
        Path("in", name).write_bytes(data)
    source = {"type": "files", "path": "in", "max_line_mb": 1, "max_file_mb": 8}
    first = project(source).manifest.outputs
    Path("data/t/scrape/manifest.json").unlink()
    assert project(source).manifest.outputs == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_a_drop(project) -> None:
    Path("in/secret").mkdir(parents=True)
    Path("in/a.txt").write_text("One good text.")
    Path("in/secret").chmod(0)
    try:
        assert project({"type": "files", "path": "in"}).reasons == [("in/secret", "unreadable")]
    finally:
        Path("in/secret").chmod(0o700)


def test_a_marked_encoding_that_breaks_off_inside_a_packed_file(project) -> None:
    Path("a.txt.gz").write_bytes(gzip.compress(codecs.BOM_UTF8 + b"caf\xe9"))
    Path("b.txt.gz").write_bytes(gzip.compress(b"One good text of some words."))
    Path("c.md.zst").write_bytes(zstandard.ZstdCompressor().compress(b"# Title\n\nOne good text of some words."))
    done = project(*({"type": "files", "path": f"{each}.*.*"} for each in "abc"))
    assert done.reasons == [("a.txt.gz", "undecodable")]
    assert [record.meta.get("title") for record in done.records] == [None, "Title"]


def test_a_packed_document_that_breaks_off_is_no_document(project) -> None:
    Path("a.txt.gz").write_bytes(gzip.compress(b"One good text of some words." * 100)[:-9])
    Path("b.txt").write_text("One good text.")
    assert project(*({"type": "files", "path": f"{each}.*"} for each in "ab")).reasons == [("a.txt.gz", "truncated")]
