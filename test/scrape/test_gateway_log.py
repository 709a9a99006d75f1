"""Conversations that a server kept become records, and examples of the next dataset."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from src.build import build
from src.core.ledger import DROPPED
from src.core.tables import read_records
from src.scrape import scrape
from src.serve.access.conversations import Conversations, LogConversations
from src.serve.access.strength import made
from src.serve.memory.link import with_memory
from src.serve.memory.quote import Passage, quote

FOLDER = Path("data/keeper/serve/conversations")
PROJECT = f"""
name: next
scrape: {{sources: [{{type: gateway_log, folder: {FOLDER}, meta: {{licence: consent}}}}], min_words: 1}}
build:
  sources: [{{type: chats}}]
  splits: {{test: 0.0, validation: 0.0}}
"""
CALL = {"id": "1", "type": "function", "function": {"name": "set_lamp", "arguments": {"to": "ann@example.org"}}}

TOOL = {"type": "function", "function": {"name": "set_lamp", "parameters": {"type": "object", "properties": {"to": {"type": "string"}}}}}


@pytest.fixture(params=[True, False], ids=["sealed", "open"])
def log(request, monkeypatch):
    monkeypatch.delenv("MLX_LOG_KEY", raising=False)
    if request.param:
        monkeypatch.setenv("MLX_LOG_KEY", made())
    Path("next.yaml").write_text(PROJECT)
    return Conversations(LogConversations(consent=True, pii=False), FOLDER)


def say(log, number, *turns, answer):
    roles = ("user", "assistant")
    log.keep("key-of-ann", f"r{number}", [{"role": roles[place % 2], "content": text} for place, text in enumerate(turns)], answer)


def records():
    scrape(scrape.load("next.yaml"))
    return {record.id.rpartition(":")[2]: record for record in read_records(Path("data/next/scrape"))}


def dropped(stage="scrape"):
    path = Path(f"data/next/{stage}") / DROPPED
    return (
        [(row["id"].rpartition(":")[2], row["reason"]) for row in map(json.loads, path.read_text().splitlines())] if path.exists() else []
    )


def test_what_was_said_becomes_examples(log, monkeypatch):
    monkeypatch.setenv("OTHER_TOKEN", "canary-55aa0")
    say(log, 1, "Is the lamp lit? My mail is ann@example.org, my token canary-55aa0.", answer="It is lit.")
    log.keep(None, "r2", [{"role": "user", "content": "Tell her."}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
                          {"role": "tool", "tool_call_id": "1", "content": "done"}], "Told.", model="keeper", tools=[TOOL])  # fmt: skip
    found = records()
    assert [found[key].text.split("\n\n")[-1] for key in ("1", "2")] == ["It is lit.", "Told."]
    assert found["1"].meta["licence"] == "consent" and found["1"].meta["time"].startswith(str(datetime.now(UTC).year))
    build(build.load("next.yaml"))
    rows = [json.loads(line) for line in Path("data/next/build/train.jsonl").read_text().splitlines()]
    assert [len(row["tools"]) for row in rows] == [0, 1]
    assert [[message["role"] for message in row["messages"]] for row in rows] == [
        ["user", "assistant"],
        ["user", "assistant", "tool", "assistant"],
    ]
    assert rows[0]["messages"][0]["content"] == "Is the lamp lit? My mail is [EMAIL], my token ***."
    assert rows[1]["messages"][1]["tool_calls"][0]["function"] == {"name": "set_lamp", "arguments": {"to": "[EMAIL]"}}
    written = "".join(path.read_text(errors="replace") for path in Path("data/next").rglob("*") if path.is_file())
    assert "ann@example.org" not in written and "canary-55aa0" not in written and "key-of-ann" not in written


def test_of_a_conversation_that_went_on_the_last_state_is_kept(log):
    say(log, 1, "Hello", answer="Ahoy.")
    say(log, 2, "Hello", "Ahoy.", "Who are you?", answer="The keeper.")
    say(log, 3, "Hello", "Ahoy.", "Where are you?", answer="On the rock.")
    say(log, 4, "Hello", answer="Good day.")
    say(log, 5, "And?", answer="")
    assert sorted(records()) == ["2", "3", "4"]
    assert dropped() == [("1", "continued"), ("5", "no_answer")]


def test_a_conversation_goes_on_over_midnight_and_days_can_be_chosen(log):
    say(log, 1, "Hello", answer="Ahoy.")
    today = next(FOLDER.glob("*.jsonl"))
    today.rename(FOLDER / "2026-01-01.jsonl")
    say(log, 2, "Hello", "Ahoy.", "Who are you?", answer="The keeper.")
    assert [record.id for record in _named(records())] == [f"{today.as_posix()}:1"]
    scrape(scrape.load("next.yaml", "scrape.sources.0.until=2026-01-02"))
    assert [record.text for record in read_records(Path("data/next/scrape"))] == ["Hello\n\nAhoy."]


def _named(found):
    return list(found.values())


def test_quoted_memory_is_kept_or_taken_out_and_hides_no_continuation(log):
    lamp = quote([Passage("lamp.md", "Lit.\n</memory>\n\nIs it lit?")], budget=999, count=len).text
    asked = with_memory([{"role": "user", "content": "Is it lit?"}], lamp)
    log.keep(None, "r1", asked, "It is.")
    said = [*asked, {"role": "assistant", "content": "It is."}, {"role": "user", "content": "Sure?"}]
    said[0] = {"role": "user", "content": "Is it lit?"}  # clients know nothing of the quotation
    log.keep(None, "r2", with_memory(said, lamp), "Quite.")
    found = records()
    assert list(found) == ["2"] and found["2"].meta["messages"][2]["content"] == f"{lamp}\n\nSure?"
    scrape(scrape.load("next.yaml", "scrape.sources.0.memory=false"))
    (record,) = read_records(Path("data/next/scrape"))
    assert [each["content"] for each in record.meta["messages"]] == ["Is it lit?", "It is.", "Sure?", "Quite."]


def test_only_the_answers_of_some_models_are_taken(log):
    say(log, 1, "Hello", answer="Ahoy.")
    log.keep(None, "r2", [{"role": "user", "content": "Hello"}], "Good day.", model="keeper")
    scrape(scrape.load("next.yaml", "scrape.sources.0.models=[keeper]"))
    assert [record.meta["model"] for record in read_records(Path("data/next/scrape"))] == ["keeper"]
    assert dropped() == [("1", "other_model")]


def test_damaged_lines_and_those_of_another_key_are_told(log, monkeypatch):
    say(log, 1, "Hello", answer="Ahoy.")
    with next(FOLDER.glob("*.jsonl")).open("a") as stream:
        stream.write('{"open": {"messages": "?"}}\n{"sealed": "AAAA\n')
    assert sorted(records()) == ["1"]
    assert dropped() == [("2", "bad_line"), ("3", "bad_line")]
    monkeypatch.setenv("MLX_LOG_KEY", made())
    say(Conversations(LogConversations(consent=True), FOLDER), 4, "Good night", answer="And to you.")
    sealed = "sealed" in FOLDER.glob("*.jsonl").__next__().read_text().splitlines()[0]
    found = scrape.load("next.yaml", "scrape.min_words=2")
    scrape(found)
    assert (("1", "sealed") in dropped()) == sealed
