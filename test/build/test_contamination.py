"""Evaluation items in training rows: found word for word, within longer texts, in nearly the same words; nothing else is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from src.build.contamination import Decontamination
from src.build.evaluation import EvaluationSet, texts_of
from src.core.errors import MlxError
from src.core.manifest import Manifest
from src.text.overlap import Overlap

from .conftest import dropped, rows, write_lines

QUESTION = "How many of the seven sleeping lighthouse keepers would wake at noon if the bell rang twice on a Sunday?"
NO_SPLIT = {"validation": 0, "test": 0}


def found(text: str, **settings: Any) -> str:
    items = Overlap(**settings)
    items.add("e:1", "asked", QUESTION)
    items.add("e:2", "asked", "Is it late?")
    hit = items.find([text])
    return f"{hit.item} {hit.how}" if hit else ""


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (QUESTION.upper(), "e:1 exact"),
        (f"Please help me. {QUESTION} Thank you so very much for it, my friend, and for all the others before.", "e:1 ngram"),
        (
            "Well: how many of the seven sleeping lighthouse keepers would wake at noon if the town slept? I wonder about it all day long.",
            "e:1 ngram",
        ),
        (QUESTION.replace("noon", "dusk"), "e:1 near"),
        ("How many lighthouse keepers are there in all?", ""),
        ("is it late", "e:2 exact"),
        ("Tell me, is it late? I have no watch.", ""),
    ],
)
def test_ways_to_find_an_item(text: str, how: str) -> None:
    assert found(text) == how


def test_ways_are_settings() -> None:
    reworded = QUESTION.replace("noon", "dusk")
    assert found(reworded, threshold=None) == "" and found(reworded, threshold=0.8) == ""
    half = "how many of the seven sleeping lighthouse keepers would wake at noon if they slept for long, I ask here today"
    assert found(half, threshold=None) == "e:1 ngram" and found(half, threshold=None, overlap=0.8) == ""
    assert found("of the seven sleeping lighthouse in another story altogether than that one", ngram=5) == "e:1 ngram"


def test_texts_anywhere_in_a_row() -> None:
    row = {
        "id": "x",
        "question": [[{"role": "user", "content": "A"}, {"role": "system", "content": "no"}]],
        "answer": {"text": "B"},
        "function": [{"name": "f"}],
    }
    assert list(texts_of(row)) == [("asked", "A"), ("asked", "B")]
    assert list(texts_of({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "R"}]})) == [
        ("asked", "Q"),
        ("answered", "R"),
    ]
    assert list(texts_of({"a": "x", "b": ["y", {"type": "text", "text": "z"}]}, ("b",))) == [("asked", "y"), ("asked", "z")]


def test_short_answers_are_no_items() -> None:
    items = Overlap()
    items.add("e:1", "answered", "Yes, I do.")
    items.add("e:2", "asked", "Why?")
    assert items.short == 2 and items.find(["Yes, I do.", "Why?"]) is None


def test_files_of_every_kind_and_none() -> None:
    Path("e").mkdir()
    Path("e/a.txt").write_text("one two three four\n\nfive six seven eight\n")
    Path("e/b.csv").write_text("prompt,n\nnine ten eleven twelve,1\n")
    write_lines(Path("e/c.jsonl"), {"instruction": "a b c d"}, "{broken", {"n": 1})
    found = list(EvaluationSet(path=Path("e")).items())
    assert [each[0] if isinstance(each, tuple) else each.reason for each in found] == [
        "e/a.txt:1", "e/a.txt:3", "e/b.csv:2", "e/c.jsonl:1", "bad_json", "no_text",
    ]  # fmt: skip
    assert len(list(EvaluationSet(glob="e/*.txt").items())) == 2
    with pytest.raises(MlxError, match="no files"):
        list(EvaluationSet(glob="none*").items())
    with pytest.raises(ValidationError, match="give one of"):
        EvaluationSet()


def test_a_planted_copy_of_bfcl_is_removed(built: Callable[..., Manifest], shared: Path) -> None:
    files = [f"BFCL_v4_{name}.json" for name in ("simple_python", "multiple", "irrelevance")]
    prompts = [
        json.loads(line)["question"][0][0]["content"] for name in files for line in (shared / "bfcl" / name).read_text().splitlines()
    ]
    planted = [{"instruction": text, "output": f"Answer {n}."} for n, text in enumerate(prompts)]
    wrapped = [
        {"instruction": f"I have this task: {text} Can you do it?", "output": f"Sure {n}."}
        for n, text in enumerate(prompts)
        if len(text.split()) > 9
    ]
    own = [{"instruction": f"What did keeper number {n} say to the gull on rock {n}?", "output": f"It said {n}."} for n in range(100)]
    sources = [
        {"type": "chats", "path": str(write_lines(Path(f"{name}.jsonl"), *each))}
        for name, each in (("planted", planted), ("wrapped", wrapped), ("own", own))
    ]
    demo = shared / "chat_formats/llamafactory/glaive_toolcall_en_demo.json"
    section = {"sources": [*sources, {"type": "chats", "path": str(demo)}], "splits": NO_SPLIT}
    manifest = built(**section, decontaminate=[{"glob": (shared / "bfcl/BFCL*.json").as_posix()}])
    gone = set(dropped()["contaminated"])
    assert {f"planted.jsonl:{n + 1}" for n in range(len(planted))} <= gone  # all of them
    assert len([name for name in gone if name.startswith("wrapped")]) >= 0.99 * len(wrapped)
    assert not [name for name in gone if name.startswith("own")]
    assert len([name for name in gone if "glaive" in name]) <= 3
    (report,) = manifest.info["decontaminate"].values()
    assert report["items"] == 840 and report["found"]["exact"] >= 840 and report["too_short"] == 0
    first = next(json.loads(line) for line in Path("data/p/build/dropped.jsonl").read_text().splitlines() if 'planted.jsonl:1"' in line)
    assert "BFCL_v4_simple_python.json:1" in first["detail"] and first["detail"].startswith("exact")
    assert "BFCL" in Path("data/p/build/card.md").read_text()


def test_against_ones_own_test_rows(built: Callable[..., Manifest]) -> None:
    # a tool source decides about its splits itself; another source must not hold what it tests
    tools = {"type": "tools", "rows": 5, "validation": 0, "test": 30, "tools": ["home"], "system": ""}
    built(sources=[tools])
    asked = [next(m["content"] for m in row["messages"] if m["role"] == "user") for row in rows("test")]
    chats = [{"instruction": text, "output": f"Well {n}."} for n, text in enumerate(dict.fromkeys(asked))]
    sources = [tools, {"type": "chats", "path": str(write_lines(Path("c.jsonl"), *chats))}]
    manifest = built(sources=sources, splits=NO_SPLIT, decontaminate=[{"split": "test"}])
    assert len(dropped()["contaminated"]) >= len(chats) - 2
    assert manifest.info["splits"]["train"]["rows"] >= 5 and manifest.info["decontaminate"]["the test split"]["items"] == 30


def test_neutral_texts_are_clean_too() -> None:
    path = write_lines(Path("e.jsonl"), {"question": QUESTION})
    unclean = Decontamination([EvaluationSet(path=path)])
    assert unclean.holds(f"A long story. {QUESTION} And so on.") and not unclean.holds("Another story.")
    assert unclean.report()["e.jsonl"] == {"items": 1, "texts": 1, "too_short": 0, "found": {"neutral": 1}}
