"""Pairs of answers: every format, every fault by name, and the files they end in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.build.candidate import Candidate
from src.build.formats import Unreadable
from src.build.preference_formats import preference
from src.build.preferences import Preferences
from src.core.files import read_jsonl
from src.core.ledger import Drop
from src.core.manifest import Manifest

from .conftest import dropped, write_lines

USER, GOOD, BAD = ({"role": role, "content": text} for role, text in (("user", "Hi"), ("assistant", "Hello"), ("assistant", "What?")))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "What?"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen_messages": [USER, GOOD], "rejected_messages": [USER, BAD]},
        {"instruction": "Hi", "input": "", "chosen": "Hello", "rejected": "What?"},
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello"},
            "rejected": {"from": "gpt", "value": "What?"},
        },
        {"input": {"messages": [USER], "tools": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"messages": [USER, GOOD], "rejected_response": "What?"},
        {"question": "Hi", "response_j": "Hello", "response_k": "What?"},
    ],
)
def test_formats_say_the_same(row: dict[str, Any]) -> None:
    assert preference(row) == ([USER], [GOOD], [BAD], [])


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        ("no_rejected", {"prompt": "Hi", "chosen": "Hello"}),
        ("no_chosen", {"prompt": "Hi", "chosen": "", "rejected": "What?"}),
        ("no_preference_pair", {"messages": [USER, GOOD]}),
        ("same_answers", {"prompt": "Hi", "chosen": "Hello", "rejected": "Hello"}),
        ("no_prompt", {"chosen": "Hello", "rejected": "What?"}),
        ("prompts_differ", {"chosen": [USER, GOOD], "rejected": [{"role": "user", "content": "Ho"}, BAD]}),
        ("empty_message", {"prompt": "Hi", "chosen": "Hello", "rejected": "  "}),
        ("rejected_not_assistant", {"prompt": "Hi", "chosen": [GOOD], "rejected": [USER]}),
        ("chosen_not_assistant", {"prompt": [USER], "chosen": [USER], "rejected": [BAD]}),
        ("bad_message", {"prompt": "Hi", "chosen": 3, "rejected": "What?"}),
        ("tools_bad_json", {"prompt": "Hi", "chosen": "Hello", "rejected": "What?", "tools": "[{"}),
    ],
)
def test_broken_pairs_say_why(reason: str, row: dict[str, Any]) -> None:
    with pytest.raises(Unreadable) as caught:
        preference(row)
    assert caught.value.reason == reason


def test_system_and_tools_come_along() -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]}
    row = {
        "prompt": "Hi",
        "system": "Be kind.",
        "chosen": [call],
        "rejected": "No.",
        "tools": [{"name": "f", "parameters": {"type": "object"}}],
    }
    prompt, chosen, rejected, tools = preference(row)
    assert [message["role"] for message in prompt] == ["system", "user"] and tools[0]["function"]["name"] == "f"
    assert chosen[0]["tool_calls"][0]["function"] == {"name": "f", "arguments": {}} and rejected[0]["content"] == "No."


def test_they_end_in_files_of_their_own(built: Callable[..., Manifest]) -> None:
    pairs = [{"prompt": f"Question {n} about thing{n} and others?", "chosen": f"Yes {n}", "rejected": f"No {n}"} for n in range(20)]
    chats = [{"messages": [{"role": "user", "content": f"Chat {n}?"}, {"role": "assistant", "content": f"Fine {n}"}]} for n in range(20)]
    long = {"prompt": "Long?", "chosen": "Yes", "rejected": "so it goes " * 200}
    sources = [
        {"type": "preferences", "path": str(write_lines(Path("p.jsonl"), *pairs, long))},
        {"type": "chats", "path": str(write_lines(Path("c.jsonl"), *chats, pairs[0]))},
    ]
    manifest = built(sources=sources, system="You are Pip.", max_tokens=300)
    rows = [row for split in ("train", "validation", "test") for row in read_jsonl(Path(f"data/p/build/{split}_preferences.jsonl"))]
    assert len(rows) == 20 == sum(manifest.info["preferences"].values())
    assert list(rows[0]) == ["id", "prompt", "chosen", "rejected", "tools", "tags", "sources"]
    assert [message["role"] for message in rows[0]["prompt"]] == ["system", "user"]
    assert {row["chosen"][0]["content"][:3] for row in rows} == {"Yes"} and {row["rejected"][0]["content"][:2] for row in rows} == {"No"}
    assert dropped() == {"preference_pair": ["c.jsonl:21"], "too_long": ["p.jsonl:21"]}
    assert manifest.counts["kept"] == 40


def test_real_pairs(shared: Path) -> None:
    found = list(Preferences(path=shared / "chat_formats/llamafactory/v1_dpo_demo.jsonl").examples())
    assert len(found) == 10 and all(isinstance(each, Candidate) and each.rejected and each.prompt[-1]["role"] == "user" for each in found)
    others = list(Preferences(path=shared / "chat_formats/llamafactory/identity.json").examples())
    assert {each.reason for each in others if isinstance(each, Drop)} == {"no_preference_pair"} and len(others) == 91
