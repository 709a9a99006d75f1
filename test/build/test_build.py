"""The stage as a whole: what it writes, accounts for and notes; the same bytes every time."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from src.build import build
from src.core.errors import ConfigError, MlxError
from src.core.manifest import Manifest
from src.core.records import Record
from src.core.tables import write_records
from src.models.template import check, template_hash
from src.text.encoding import decode

from .conftest import book, dropped, rows, write_lines

Built = Callable[..., Manifest]
PASSAGES = {"type": "passages", "tokens": 80, "min_words": 10}
TOOLS = {"type": "tools", "rows": 30, "validation": 5, "test": 10, "tools": ["home"], "system": ""}
PAIR = [{"role": "user", "content": "Hi {n}"}, {"role": "assistant", "content": "Hello {n}"}]


def chat(number: int, **more: object) -> dict[str, object]:
    return {"messages": [{"role": m["role"], "content": m["content"].format(n=number)} for m in PAIR], **more}


def everything() -> list[dict]:
    return [row for split in ("train", "validation", "test") for row in rows(split)]


def test_three_files_of_examples(built: Built) -> None:
    manifest = built([book(n) for n in range(8)], sources=[PASSAGES])
    for split in ("train", "validation", "test"):
        assert rows(split)
        assert all(list(row) == ["id", "messages", "tools", "label", "tags", "sources"] for row in rows(split))
    counts = manifest.counts
    assert counts["read"] == counts["kept"] + counts["dropped"] and counts["kept"] == len(everything())
    assert manifest.info["splits"]["train"]["rows"] == len(rows("train"))
    assert manifest.info["tokens"]["exact"] is False and manifest.info["tokens"]["trained"] > 0
    assert manifest.info["template"] is None and manifest.info["system"] is None and manifest.info["persona"] is None


def test_no_document_stands_in_two_splits(built: Built) -> None:
    built([book(n) for n in range(9)], sources=[PASSAGES])
    where = {source: split for split in ("train", "validation", "test") for row in rows(split) for source in row["sources"]}
    for split in ("train", "validation", "test"):
        assert {where[source] for row in rows(split) for source in row["sources"]} == {split}


def test_only_the_personas_records_become_passages(built: Built) -> None:
    records = [book(n, author="Pip" if n < 4 else "Else") for n in range(8)]
    manifest = built(records, sources=[PASSAGES], persona={"author": ["Pip"]}, system="You are Pip.")
    assert {row["sources"][0] for row in everything()} <= {f"books/{n}.txt" for n in range(4)}
    assert all(row["messages"][0] == {"role": "system", "content": "You are Pip."} for row in everything())
    assert manifest.info["system"] == "You are Pip." and manifest.info["persona"] == {"author": ["Pip"]}


def test_a_system_message_of_its_own_stays(built: Built) -> None:
    own = {"messages": [{"role": "system", "content": "Mine"}, *chat(0)["messages"]]}
    built(
        sources=[{"type": "chats", "path": str(write_lines(Path("c.jsonl"), own, chat(1)))}],
        system="Yours",
        splits={"validation": 0, "test": 0},
    )
    assert sorted(row["messages"][0]["content"] for row in rows("train")) == ["Mine", "Yours"]


def test_chats_need_no_records_and_share_a_split_by_group(built: Built) -> None:
    path = write_lines(Path("c.jsonl"), *[chat(n, topic=n % 7) for n in range(70)])
    built(sources=[{"type": "chats", "path": str(path), "group": "topic"}], splits={"validation": 0.2, "test": 0.2})
    where: dict[int, set[str]] = {}
    for split in ("train", "validation", "test"):
        for row in rows(split):
            where.setdefault((int(row["id"].split(":")[1]) - 1) % 7, set()).add(split)
    assert len(where) == 7 and all(len(splits) == 1 for splits in where.values())


def test_tools_keep_their_own_splits(built: Built) -> None:
    manifest = built(sources=[TOOLS, TOOLS | {"tools": ["travel"]}])
    assert [manifest.info["splits"][split]["rows"] for split in ("train", "validation", "test")] == [60, 10, 20]
    assert len({row["id"] for row in everything()}) == 90
    assert all(row["id"].startswith("tools:test:") for row in rows("test"))
    assert manifest.info["tags"]["source:tools"] == 90


def test_the_same_bytes_again_and_others_from_another_seed(built: Built) -> None:
    section = {"sources": [PASSAGES, TOOLS]}
    one, two = (built([book(n) for n in range(8)], **section) for _ in range(2))
    assert one.outputs == two.outputs
    assert built([book(n) for n in range(8)], seed=7, **section).outputs != one.outputs


def test_rows_are_mixed(built: Built) -> None:
    built([book(n) for n in range(8)], sources=[PASSAGES, TOOLS])
    kinds = [row["tags"][0] for row in rows("train")]
    assert kinds != sorted(kinds) and kinds != sorted(kinds, reverse=True)


def test_broken_and_doubled_rows_are_drops(built: Built) -> None:
    path = write_lines(Path("c.jsonl"), chat(0), chat(0), "{broken", {"messages": PAIR[:1]}, chat(1))
    built(sources=[{"type": "chats", "path": str(path)}], splits={"validation": 0, "test": 0})
    assert dropped() == {"bad_json": ["c.jsonl:3"], "last_not_assistant": ["c.jsonl:4"], "duplicate": ["c.jsonl:2"]}


@pytest.mark.parametrize("exact", [False, True])
def test_too_long_is_dropped_and_not_cut(built: Built, tokenizer_folder: Path, exact: bool) -> None:
    long = {"messages": [{"role": "user", "content": "Tell."}, {"role": "assistant", "content": "so it goes " * 50}]}
    path = write_lines(Path("c.jsonl"), long, chat(1))
    tokenizer = {"tokenizer": str(tokenizer_folder)} if exact else {}
    built(sources=[{"type": "chats", "path": str(path)}], splits={"validation": 0, "test": 0}, max_tokens=100, **tokenizer)
    assert dropped() == {"too_long": ["c.jsonl:1"]}


def test_a_tokenizer_counts_and_checks(built: Built, tokenizer_folder: Path) -> None:
    special = {"messages": [{"role": "user", "content": "<|im_end|>"}, PAIR[1]]}
    path = write_lines(Path("c.jsonl"), special)
    sources = [PASSAGES | {"tokens": 400}, {"type": "chats", "path": str(path)}]
    manifest = built([book(n) for n in range(4)], sources=sources, tokenizer=str(tokenizer_folder))
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    assert dropped()["special_token_in_text"] == ["c.jsonl:1"]
    assert manifest.info["template"] == {"tokenizer": str(tokenizer_folder), "hash": template_hash(tokenizer)}
    assert manifest.info["tokens"]["exact"] is True
    assert all(check(tokenizer, row) is None for row in everything())
    assert all(len(tokenizer(row["messages"][1]["content"])["input_ids"]) <= 400 for row in everything())


def test_a_tokenizer_made_from_scratch(built: Built) -> None:
    records = [book(n, author="Pip" if n < 4 else "Else", paragraphs=60 if n > 4 else 12) for n in range(9)]
    section = {"sources": [PASSAGES, TOOLS], "persona": {"author": "Pip"}, "tokenizer": "scratch"}
    manifest = built(records, **section)
    folder = Path("data/p/build/scratch")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert manifest.info["template"] == {"tokenizer": "scratch", "hash": template_hash(tokenizer)}
    assert all(check(tokenizer, row) is None for row in everything())
    texts = [json.loads(line)["text"] for line in (folder / "texts.jsonl").read_text().splitlines()]
    neutral = {number for number in range(9) if any(f"thing{number}x" in text for text in texts)}
    assert neutral and neutral < set(range(4, 9))  # those held out stay away
    assert built(records, **section).outputs == manifest.outputs


def test_without_a_persona_no_text_is_neutral(built: Built) -> None:
    built([book(n) for n in range(3)], sources=[PASSAGES], tokenizer="scratch")
    assert Path("data/p/build/scratch/texts.jsonl").read_text() == ""


def test_passages_without_records() -> None:
    Path("p.yaml").write_text("name: p\nbuild: {sources: [{type: passages}]}\n")
    with pytest.raises(MlxError, match=r"sources\[0\]: passages need records"):
        build(build.load("p.yaml"))


def test_nothing_left(built: Built) -> None:
    with pytest.raises(MlxError, match="no example is left of 1: no_passage 1"):
        built([Record("a", "CHAPTER I.", {})], sources=[PASSAGES])


def test_a_tokenizer_that_is_not_there_or_has_no_template(built: Built, tokenizer_folder: Path) -> None:
    with pytest.raises(MlxError, match="no model folder"):
        built([book(1)], sources=[PASSAGES], tokenizer="./none")
    (tokenizer_folder / "chat_template.jinja").unlink()
    with pytest.raises(MlxError, match="has no chat template"):
        built([book(1)], sources=[PASSAGES], tokenizer=str(tokenizer_folder))


def test_faults_of_the_config_are_named() -> None:
    Path("p.yaml").write_text("name: p\nbuild: {sources: [{type: passage}], splits: {tests: 1}}\n")
    with pytest.raises(ConfigError, match=r"(?s)did you mean 'passages'.*did you mean 'test'|did you mean 'test'.*did you mean 'passages'"):
        build.load("p.yaml")


def test_real_books(built: Built, shared: Path) -> None:
    authors = {"76": "Twain, Mark", "74": "Twain, Mark", "3189": "Twain, Mark", "1661": "Doyle, Arthur Conan"}
    write_records(
        Path("r/records.parquet"),
        (
            Record(f"gutenberg:{number}", decode(file.read_bytes())[0].replace("\r\n", "\n"), {"author": author, "source": number})
            for number, author in authors.items()
            for file in (shared / "gutenberg" / number).glob(f"{number}-*.txt")
        ),
    )
    manifest = built(sources=[{"type": "passages"}], persona={"author": "Twain, Mark"}, input=["r/records.parquet"])
    where = Counter((row["sources"][0], split) for split in ("train", "validation", "test") for row in rows(split))
    assert len(where) == 3 and {split for _, split in where} == {"train", "validation", "test"}
    assert manifest.info["splits"]["train"]["rows"] > 200
