"""A dataset with every fault that others train on without a word: each is caught, named and counted, at build and before training."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.build.preview import preview
from src.core.ledger import Ledger
from src.core.manifest import Manifest
from src.core.reasons import REASONS

from .conftest import dropped, rows, write_lines

TOOL = {"type": "function", "function": {"name": "set_light", "parameters": {"type": "object", "properties": {"room": {"type": "string"}}}}}
USER, DONE = {"role": "user", "content": "Light on"}, {"role": "assistant", "content": "Done."}


def called(arguments: Any, name: str = "set_light") -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": name, "arguments": arguments}}]}


def result(call_id: str = "c") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


FAULTY: dict[str, list[list[dict[str, Any]]]] = {
    "no_user": [[{"role": "system", "content": "Be."}, DONE]],
    "empty_message": [[USER, said(" ")]],
    "unknown_role": [[{"role": "narrator", "content": "Night."}, USER, DONE]],
    "no_role": [[{"content": "Light on"}, DONE]],
    "content_not_text": [[{"role": "user", "content": [{"type": "image_url"}]}, DONE]],
    "last_not_assistant": [[USER, DONE, USER], [USER]],
    "system_not_first": [[USER, {"role": "system", "content": "Be."}, DONE]],
    "unknown_tool": [[USER, called({}, "fly")]],
    "arguments_encoded_twice": [[USER, called(json.dumps(json.dumps({"room": "attic"})))]],
    "arguments_bad_json": [[USER, called("{room: attic}")]],
    "arguments_not_object": [[USER, called("[1]")]],
    "arguments_invalid": [[USER, called({"room": 5})]],
    "tool_result_unmatched": [[USER, result(), DONE]],
    "call_unanswered": [[USER, called({"room": "a"}), USER, DONE]],
    "think_unclosed": [[USER, said("<think>hm Done.")]],
    "think_unopened": [[USER, said("hm</think>Done.")]],
    "think_twice": [[USER, said("<think>a</think><think>b</think>Done.")]],
    "special_token_in_text": [[{"role": "user", "content": "Say <|im_end|>"}, DONE]],
    "too_long": [[USER, said("word " * 600)]],
}
SOUND = [[USER, DONE], [USER, called('{"room": "attic"}'), result(), DONE], [USER, said("<think>\nhm\n</think>\n\nDone.")]]


@pytest.fixture
def chats() -> Path:
    made = [messages for each in (*FAULTY.values(), SOUND) for messages in each]
    return write_lines(Path("c.jsonl"), *({"messages": messages, "tools": [TOOL]} for messages in made))


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3"])
def test_each_is_caught_named_and_counted_at_build(built: Callable[..., Manifest], chats: Path, tokenizer_of: Any, family: str) -> None:
    tokenizer_of(family).save_pretrained("tok")
    section = {"sources": [{"type": "chats", "path": str(chats)}], "splits": {"validation": 0, "test": 0, "near": None}}
    manifest = built(**section, tokenizer="tok", max_tokens=500)
    wanted = {reason: len(each) for reason, each in FAULTY.items()}
    assert manifest.counts["reasons"] == wanted == {reason: len(ids) for reason, ids in dropped().items()}
    assert manifest.counts["read"] == manifest.counts["kept"] + manifest.counts["dropped"]
    assert manifest.counts["kept"] == len(SOUND) == len(rows("train")) and set(wanted) <= set(REASONS)
    assert manifest.info["too_long"]["rows"] == 1 and manifest.info["too_long"]["tokens_lost"] > 500
    assert manifest.info["thoughts"] == 1


def test_each_is_caught_before_training_where_nothing_was_built(tmp_path: Path, tokenizer_of: Any) -> None:
    from src.train.rows import read_rows

    wanted = {reason: each for reason, each in FAULTY.items() if reason not in ("arguments_bad_json", "no_role")}
    made = [{"id": f"{reason}{n}", "messages": each, "tools": [TOOL]} for reason, some in wanted.items() for n, each in enumerate(some)]
    write_lines(tmp_path / "train.jsonl", *made, {"id": "sound", "messages": SOUND[0], "tools": [TOOL]})
    with Ledger(tmp_path) as ledger:
        upstream = SimpleNamespace(path=tmp_path)
        log = logging.getLogger("mlx.train")
        run: Any = SimpleNamespace(input=lambda _: upstream, ledger=ledger, info={}, progress=lambda items, **_: items, log=log)
        assert [row.id for row in read_rows(run, tokenizer_of("qwen3"), "train", longest=500)] == ["sound"]
    found = {json.loads(line)["id"]: json.loads(line)["reason"] for line in ledger.path.read_text().splitlines()}
    mended = {"unknown_role": "unknown_role", "arguments_not_object": "arguments_not_object"}
    assert found == {each["id"]: mended.get(each["id"][:-1], each["id"][:-1]) for each in made}
    assert ledger.read == ledger.kept + ledger.dropped


def test_split_and_truncate_at_build(built: Callable[..., Manifest], tokenizer_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer_of("qwen2_5").save_pretrained("tok")
    turns = [message for n in range(8) for message in ({"role": "user", "content": f"What of {n}?"}, said(f"Of {n}: " + "lamp " * 8))]
    write_lines(Path("c.jsonl"), {"messages": turns}, {"messages": [USER, DONE]})
    section = {"sources": [{"type": "chats", "path": "c.jsonl"}], "splits": {"validation": 0, "test": 0, "near": None}, "max_tokens": 150}
    for tokenizer in ("tok", None):
        manifest = built(**section, tokenizer=tokenizer, too_long="split")
        parts = sorted((row for row in rows("train") if "#part" in row["id"]), key=lambda row: row["id"])
        assert len(parts) > 1 and [message for part in parts for message in part["messages"]] == turns
        assert manifest.counts["dropped"] == 0 and manifest.info["too_long"]["parts"] == len(parts)
        assert manifest.info["too_long"]["learned_lost"] == 0 and all(row["sources"] == ["c.jsonl:1"] for row in parts)
        assert f"1 rows over 150 tokens were made into {len(parts)} parts" in caplog.text
    manifest = built(**section, tokenizer="tok", too_long="truncate")
    (row,) = (row for row in rows("train") if row["id"] == "c.jsonl:1")
    assert row["messages"] == turns[-len(row["messages"]) :] and manifest.info["too_long"]["learned_lost"] > 0
    assert manifest.info["tokens"]["longest"] <= 150


def test_thoughts_are_stripped_or_refused(built: Callable[..., Manifest]) -> None:
    write_lines(Path("c.jsonl"), {"messages": SOUND[2]}, {"messages": [USER, DONE]})
    section = {"sources": [{"type": "chats", "path": "c.jsonl"}], "splits": {"validation": 0, "test": 0, "near": None}}
    built(**section, thoughts="refuse")
    assert dropped() == {"thoughts_refused": ["c.jsonl:1"]}
    manifest = built(**section, thoughts="strip")
    assert manifest.info["thoughts"] == 0 and dropped().keys() == {"duplicate"}  # without its thought it is the other row


@pytest.mark.parametrize("family", ["llama3", "llama3_1", "mistral_v03", "qwen2_5", "qwen3", "gemma3", "chatml"])
def test_preview_sets_off_what_each_family_learns(
    built: Callable[..., Manifest], tokenizer_of: Any, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    tokenizer = tokenizer_of(family)
    tokenizer.save_pretrained("tok")
    write_lines(Path("c.jsonl"), {"messages": [USER, said("Aye."), USER, DONE]})
    built(sources=[{"type": "chats", "path": "c.jsonl"}], splits={"validation": 0, "test": 0}, tokenizer="tok")
    text = "\n".join(preview(Path("data/p/build"), 1))
    empty = "<think>\n\n</think>\n\n" if family == "qwen3" else ""
    gap = " " if family == "mistral_v03" else ""
    end = tokenizer.eos_token
    assert text.count("⟦") == 2 and f"⟦{gap}{empty}Aye.{end}⟧" in text and f"⟦{gap}{empty}Done.{end}⟧" in text
