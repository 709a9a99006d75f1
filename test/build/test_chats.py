"""Conversations of others: every format, every fault they are known to have."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from src.build.candidate import Candidate
from src.build.chats import Chats
from src.build.formats import Unreadable, conversation
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.models.conversation import fault_in

from .conftest import write_lines

USER, DONE = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}}}


def fault_of(row: dict[str, Any]) -> str:
    with pytest.raises(Unreadable) as caught:
        conversation(row)
    return caught.value.reason


def called(arguments: Any) -> dict[str, Any]:
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [call]}]}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, DONE]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": [{"type": "text", "value": "Hello"}]},
            ]
        },
        {"messages": [USER, DONE | {"weight": 1}]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"conversation": [{"role": "user", "content": "Hi"}, {"role": "model", "content": "Hello"}]},
        {"instruction": "Hi", "input": "", "output": "Hello"},
        {"prompt": "Hi", "completion": "Hello"},
        {"question": "Hi", "answer": "Hello", "tools": ""},
    ],
)
def test_formats_say_the_same(row: dict[str, Any]) -> None:
    assert conversation(row) == ([USER, DONE], [])


def test_alpaca_with_input_history_and_system() -> None:
    row = {"instruction": "Add", "input": "1, 2", "output": "3", "history": [["Hi", "Hello"]], "system": "Be exact."}
    messages, _ = conversation(row)
    assert messages == [
        {"role": "system", "content": "Be exact."},
        USER,
        DONE,
        {"role": "user", "content": "Add\n\n1, 2"},
        {"role": "assistant", "content": "3"},
    ]


@pytest.mark.parametrize("arguments", ['{"a": 1}', {"a": 1}])
def test_arguments_become_objects(arguments: Any) -> None:
    messages, _ = conversation(called(arguments))
    assert messages[1]["tool_calls"] == [{"id": "call_0", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]


def test_no_arguments_are_an_empty_object() -> None:
    assert conversation(called(""))[0][1]["tool_calls"][0]["function"]["arguments"] == {}


def test_the_older_function_call() -> None:
    row = {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            DONE,
        ],
        "functions": [{"name": "f", "parameters": PARAMETERS}],
    }
    messages, tools = conversation(row)
    assert tools == [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}]
    assert messages[2] == {"role": "tool", "content": "1", "name": "f", "tool_call_id": "call_0"}
    assert fault_in(messages, tools) is None


def test_sharegpt_calls_and_their_results() -> None:
    turns = [("human", "Hi"), ("function_call", '[{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": "{}"}]')]
    turns += [("observation", "1"), ("observation", "2"), ("gpt", "Done")]
    row = {
        "conversations": [{"from": who, "value": value} for who, value in turns],
        "tools": '[{"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "int"}}}}]',
    }
    messages, tools = conversation(row)
    assert [message.get("tool_call_id") for message in messages] == [None, None, "call_0", "call_1", None]
    assert tools[0]["function"]["parameters"] == {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert fault_in(messages, tools) is None


def test_results_find_their_calls_by_id() -> None:
    calls = [{"id": name, "function": {"name": "f", "arguments": {}}} for name in ("p", "q")]
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("q", "p", "z")]
    messages, _ = conversation({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": calls}, *results]})
    assert [message.get("tool_call_id") for message in messages[2:]] == ["call_1", "call_0", "z"]


def test_thoughts_stand_apart() -> None:
    parts = [{"type": "reasoning", "value": "Hm"}, {"type": "tool_call", "value": '{"name": "f", "arguments": {}}'}]
    messages, _ = conversation({"messages": [USER, {"role": "assistant", "content": parts}]})
    assert messages[1]["reasoning_content"] == "Hm" and messages[1]["content"] is None
    assert messages[1]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    ("reason", "row"),
    [
        ("arguments_encoded_twice", called('"{\\"a\\": 1}"')),
        ("arguments_not_object", called([1])),
        ("arguments_bad_json", called("{a: 1}")),
        ("bad_message", {"messages": ["Hi"]}),
        ("bad_message", {"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {}}]}]}),
        ("weight_zero", {"messages": [USER, DONE | {"weight": 0}]}),
        ("content_not_text", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
        ("content_not_text", {"messages": [{"role": "user", "content": 5}]}),
        ("content_not_text", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
        ("unknown_role", {"conversations": [{"from": "alien", "value": "Hi"}]}),
        ("bad_message", {"conversations": ["Hi"]}),
        ("bad_message", {"conversations": [{"from": "function_call", "value": "f(1)"}]}),
        ("bad_message", {"instruction": "Hi", "output": "Hello", "history": ["Hi"]}),
        ("preference_pair", {"prompt": "Hi", "chosen": "a", "rejected": "b"}),
        ("unknown_format", {"text": "Hi"}),
        ("unknown_format", {}),
        ("tools_bad_json", {"messages": [USER, DONE], "tools": "[{"}),
        ("tools_bad_json", {"messages": [USER, DONE], "tools": {"f": 1}}),
        ("tool_invalid", {"messages": [USER, DONE], "tools": ["f"]}),
    ],
)
def test_broken_rows_say_why(reason: str, row: dict[str, Any]) -> None:
    assert fault_of(row) == reason


def test_ids_tell_file_and_line() -> None:
    path = write_lines(Path("a/b.jsonl"), {"messages": [USER, DONE], "label": 3}, "", "{broken", {"messages": [USER, DONE], "topic": "t"})
    first, broken, last = Chats(path=path, group="topic").examples()
    assert isinstance(first, Candidate) and first.example["id"] == "a/b.jsonl:1" == first.key and first.example["label"] == "3"
    assert isinstance(broken, Drop) and (broken.id, broken.reason) == ("a/b.jsonl:3", "bad_json")
    assert isinstance(last, Candidate) and last.key == "topic:t"


def test_files_by_folder_pattern_and_limit() -> None:
    for name in ("a/1.jsonl", "a/b/2.json", "a/3.txt"):
        write_lines(Path(name), {"messages": [USER, DONE]}, {"messages": [USER, DONE]})
    assert [path.as_posix() for path in Chats(path=Path("a")).files()] == ["a/1.jsonl", "a/b/2.json"]
    assert [path.as_posix() for path in Chats(glob="a/**/*.json*").files()] == ["a/1.jsonl", "a/b/2.json"]
    assert len(list(Chats(path=Path("a/1.jsonl"), limit=1).examples())) == 1


def test_no_files_and_too_many_ways_to_name_them() -> None:
    with pytest.raises(MlxError, match="no files"):
        list(Chats(glob="none/*").examples())
    with pytest.raises(ValidationError, match="`path` or `glob`, not both"):
        Chats(path="a", glob="b")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("axolotl/alpaca.json", {"": 2}),
        ("axolotl/conversation.json", {"": 1}),
        ("axolotl/conversation.missingturns.json", {"empty_message": 1}),
        ("llamafactory/glaive_toolcall_en_demo.json", {"": 299, "arguments_invalid": 1}),
        ("llamafactory/identity.json", {"": 91}),
        ("llamafactory/v1_sft_demo.jsonl", {"": 500}),
        ("llamafactory/v1_dpo_demo.jsonl", {"preference_pair": 10}),
        ("llamafactory/dataset_info.json", {"unknown_format": 1}),
        ("llamafactory/reason_tool_use_demo_50.jsonl", {"": 41, "call_unanswered": 3, "tool_invalid": 6}),
        ("openai_cookbook/drone_training.head3.reconstructed.jsonl", {"": 2, "arguments_encoded_twice": 1}),
        ("openai_cookbook/toy_chat_fine_tuning.reconstructed.jsonl", {"": 4, "no_user": 1}),
    ],
)
def test_real_files_and_the_faults_they_hold(shared: Path, name: str, found: dict[str, int]) -> None:
    counts: dict[str, int] = {}
    for item in Chats(path=shared / "chat_formats" / name).examples():
        fault = item if isinstance(item, Drop) else fault_in(item.example["messages"], item.example["tools"])
        counts[fault.reason if fault else ""] = counts.get(fault.reason if fault else "", 0) + 1
    assert counts == found
