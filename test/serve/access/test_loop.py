"""The loop is closed: what is said to a server, with consent, is what the next dataset is built from."""

import json
from pathlib import Path

import pytest

from src.build import build
from src.scrape import scrape
from src.serve.access.conversations import Conversations, LogConversations
from src.serve.access.strength import made
from src.serve.reply import DONE, SSE, Reply, Shape, usage

LOG = Path("data/keeper/serve/conversations")
PROJECT = f"""
name: next
scrape: {{sources: [{{type: gateway_log, folder: {LOG}}}]}}
build: {{sources: [{{type: chats}}], splits: {{test: 0.0, validation: 0.0}}}}
"""


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setenv("MLX_LOG_KEY", made())
    return Conversations(LogConversations(consent=True), LOG)


async def called(scripted, request):
    """An answer that calls a tool, in pieces."""
    shape = Shape("keeper")
    pieces = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "set_lamp", "arguments": ""}}]
    pieces += [{"index": 0, "function": {"arguments": part}} for part in ('{"sta', 'te": "on"}')]

    async def events():
        for piece in pieces:
            yield shape.chunk({"tool_calls": [piece]}, usage=None)
        yield shape.last(usage(7, 5))
        yield DONE

    return Reply(200, SSE, events())


def test_what_is_said_with_consent_becomes_the_next_dataset(web, guarded, scripted, kept):
    key = guarded.key()
    with guarded.running(web, scripted, guarded.access(), conversations=kept) as address:

        def say(*turns, **more):
            messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 3, turns, strict=False)]
            body = {"model": "keeper", "messages": messages, **more}
            assert web.ask(address, body, authorization=f"Bearer {key}")[0] == 200

        say("Is the lamp lit? Write to ann@example.org.", stream=True)
        say("Is the lamp lit? Write to ann@example.org.", "the lamp is lit ", "Since when?", stream=True)
        say("This stays between us.", store=False)
        scripted.ask = lambda request: called(scripted, request)
        say("Light it again.", tools=[web.tool], stream=True)
    Path("next.yaml").write_text(PROJECT)
    scrape(scrape.load("next.yaml"))
    build(build.load("next.yaml"))
    rows = [json.loads(line) for line in Path("data/next/build/train.jsonl").read_text().splitlines()]
    assert [[message["role"] for message in row["messages"]] for row in rows] == [
        ["system", "user", "assistant", "user", "assistant"],
        ["system", "user", "assistant"],
    ]
    assert [message["content"] for message in rows[0]["messages"][1:4]] == [
        "Is the lamp lit? Write to [EMAIL].", "the lamp is lit ", "Since when?",
    ]  # fmt: skip
    assert rows[1]["messages"][2]["tool_calls"][0]["function"] == {"name": "set_lamp", "arguments": {"state": "on"}}
    assert [tool["function"]["name"] for tool in rows[1]["tools"]] == ["set_lamp"]
    assert "between us" not in Path("data/next/build/train.jsonl").read_text()
